"""Oracles that no one here wrote: PyTorch's OpInfo samples and ONNX's node tests, run and counted."""
