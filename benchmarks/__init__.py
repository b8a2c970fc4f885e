"""Timings beside PyTorch: `python -m benchmarks`; what is measured, and how, stands in docs/benchmarks.md."""
