"""Proof of derivatives, for this library and for its users. `minigrad.testing.strategies` needs Hypothesis."""

from minigrad.testing.gradients import check_adjoint, check_grads, check_jvp_vjp
from minigrad.testing.modules import check_module
from minigrad.testing.optimizers import check_optimizer
from minigrad.testing.repeats import check_determinism, check_devices
from minigrad.testing.report import CheckError, Element, Report

__all__ = [
    "CheckError",
    "Element",
    "Report",
    "check_adjoint",
    "check_determinism",
    "check_devices",
    "check_grads",
    "check_jvp_vjp",
    "check_module",
    "check_optimizer",
]
