"""Proof of derivatives, for this library and for its users. `minigrad.testing.strategies` needs Hypothesis."""

from minigrad.testing.gradients import GradientError, check_grads

__all__ = ["GradientError", "check_grads"]
