"""Proof of derivatives, for this library and for its users."""
