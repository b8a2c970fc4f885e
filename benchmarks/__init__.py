"""Timings beside PyTorch: `python -m benchmarks`."""
