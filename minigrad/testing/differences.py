"""Numeric derivatives in float64, each with an estimate of its error.

A derivative is extrapolated (Richardson, 1911) from central differences with the steps h, h/2 and h/4. What the last
extrapolation changed, and what the noise of the values may have done, bound its error. Where that is too much, the
step was too wide (a kink, a pole, the end of the domain, a steep function), and a smaller one is tried.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

STEPS = tuple(2.0**-k for k in (7, 11, 15, 19, 23))
GOAL = 1e-6
"""The error, relative to the numbers at hand, beyond which a difference quotient proves nothing."""

Path = Callable[[float], np.ndarray]
"""A function of one number, the step: f along a line through the point at which it is differentiated."""


@dataclass(frozen=True)
class Estimate:
    """A numeric derivative, how far it may be off, and where it is good enough to prove something (all elementwise)."""

    value: np.ndarray
    error: np.ndarray
    settled: np.ndarray


def derivative(path: Path, scale: float, *, reach: int = 2) -> Estimate:
    """The derivative of a path at 0. An error of GOAL times the scale is small, even if the value is smaller still.

    Where values are what rounding leaves, a few may be equal by chance: their noise shows in a wider `reach`.
    """
    with np.errstate(all="ignore"):  # a step may leave the domain of the function: then a smaller one is taken
        jitter = noise(path, reach)
        value, error, size = _extrapolated(path, STEPS[0], jitter)
        for step in STEPS[1:]:
            if (error <= GOAL * size).all():
                break
            again = _extrapolated(path, step, jitter)
            value, error, size = (
                np.where(again[1] < error, new, old) for new, old in zip(again, (value, error, size), strict=True)
            )
        return Estimate(value, error, error <= GOAL * np.maximum(size, scale))


def noise(path: Path, reach: int = 2, step: float = 2.0**-40) -> np.ndarray:
    """How far rounding moves the values of a path: by their second differences, for steps too small for anything else.

    (Hamming, 1962, Numerical Methods for Scientists and Engineers, as a table of differences.)
    """
    values = [path(k * step) for k in range(-reach, reach + 1)]
    second = [np.abs(a - 2 * b + c) for a, b, c in zip(values, values[1:], values[2:], strict=False)]
    return np.maximum(np.max(second, axis=0), np.finfo(np.float64).eps * np.abs(values[reach]))


def _extrapolated(path: Path, step: float, jitter: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The derivative, its error, and the size that makes the error a relative one."""
    differences, size = [], np.zeros(())
    for h in (step, step / 2, step / 4):
        ahead, behind = path(h), path(-h)
        differences.append((ahead - behind) / (2 * h))
        size = np.maximum(size, np.maximum(np.abs(ahead), np.abs(behind)))
    wide, middle, narrow = differences
    first, second = middle + (middle - wide) / 3, narrow + (narrow - middle) / 3
    value = second + (second - first) / 15
    jitter = np.maximum(jitter, np.finfo(np.float64).eps * size)  # a step away values may be larger
    error = np.abs(second - first) + 16 * jitter / step  # of two values over half a step, and few differences tell
    return value, np.where(np.isfinite(value), error, np.inf), np.maximum(size, np.abs(value))


@dataclass(frozen=True)
class Slopes:
    """The derivatives of a path at 0 from the left and from the right, and where they differ: at a kink."""

    left: np.ndarray
    right: np.ndarray
    kink: np.ndarray

    def subgradient(self, slope: Any, slack: Any) -> np.ndarray:
        """Whether a slope lies between those on the sides of a kink, but for a little slack."""
        low, high = np.minimum(self.left, self.right), np.maximum(self.left, self.right)
        slack = slack + 1e-6 * np.maximum(np.abs(low), np.abs(high))
        return self.kink & (low - slack <= slope) & (slope <= high + slack)


def slopes(path: Path, scale: float) -> Slopes:
    """The derivatives of a path at 0 from both sides. What rounding may do to numbers of a scale is no kink."""
    here, step = path(0.0), 2.0**-22
    with np.errstate(all="ignore"):
        left, right = (2 * (path(h / 2) - here) / (h / 2) - (path(h) - here) / h for h in (-step, step))
        jitter = np.maximum(noise(path), np.finfo(np.float64).eps * scale)
        unclear = 1e-4 * np.maximum(np.abs(left), np.abs(right)) + 64 * jitter / step
        return Slopes(left, right, np.abs(left - right) > unclear)


def sweep(path: Path, analytic: float) -> tuple[tuple[float, float], ...]:
    """How far a central difference is from the analytic derivative, for steps from 0.1 to 1e-12.

    For a right derivative the error falls with the square of the step until rounding makes it rise again, a V in a
    double logarithmic picture. For a wrong one it stays what it is.
    """
    with np.errstate(all="ignore"):
        return tuple(
            (step, abs(float((path(step) - path(-step)) / (2 * step)) - analytic))
            for step in (10.0**-k for k in range(1, 13))
        )
