"""Learn by wiggling one weight at a time, and by backpropagation, and count what it costs."""
