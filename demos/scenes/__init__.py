"""Train a convolutional network to tell fifteen kinds of scene apart, or to classify pictures with one."""
