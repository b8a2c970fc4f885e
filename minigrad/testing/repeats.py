"""Proof that results are the same again: in the next call, and on another device."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from minigrad import kernels, random, runtime
from minigrad.creation import asarray
from minigrad.errors import ArgumentError
from minigrad.tensor import Tensor
from minigrad.testing.compare import Findings, like_normal, rounding
from minigrad.testing.functions import OfTensors, function_of
from minigrad.testing.report import Report, hides
from minigrad.transforms import vjp

__tracebackhide__ = hides


def check_determinism(f: Callable[..., Any], *inputs: Any, repeats: int = 3, seed: int = 0) -> Report:
    """Prove that f and its gradients have the same bits in every call, with 1 thread and with all of them.

    The default stream of random numbers is started again before each call. (Results with another number of threads
    may differ by rounding.)

    >>> from minigrad.testing import check_determinism
    >>> check_determinism(lambda x: nn.Dropout(0.5)(x), mg.ones((100, 100))).passed
    True
    """
    function = function_of("check_determinism", f, inputs, finite=False)
    found, threads = Findings(), runtime.get_num_threads()
    with default_stream_kept():
        try:
            for count in sorted({1, threads}):
                runtime.set_num_threads(count)
                first = _bits(function, seed)
                if any(_bits(function, seed) != first for _ in range(repeats)):
                    found.problems.append(f"with {count} threads the bits differ from call to call")
        finally:
            runtime.set_num_threads(threads)
    found.facts.append(f"{repeats + 1} calls with 1 and {threads} threads")
    return found.report("check_determinism", f, inputs, repeats=repeats, seed=seed).required()


@contextmanager
def default_stream_kept() -> Iterator[None]:
    """Leave the default stream of random numbers where it was."""
    key, counter = random.default.key, random.default.counter
    try:
        yield
    finally:
        random.default.key, random.default.counter = key, counter


def _bits(function: Any, seed: int) -> list[bytes]:
    random.manual_seed(seed)
    arrays = function.arrays
    value = function.value(arrays)
    cotangent = like_normal(value, np.random.default_rng(seed))
    random.manual_seed(seed)
    return [x.tobytes() for x in (value, *function.pull(arrays, cotangent))]


def check_devices(f: Callable[..., Any], *inputs: Any, devices: Sequence[str] | None = None, seed: int = 0) -> Report:
    """Prove that f and its gradients are the same on every device, to rounding.

    Parameters
    ----------
    f
        A function of tensors, whatever their device.
    inputs
        Tensors on the CPU; they are moved.
    devices
        Their names; by default all that this machine has. With none but "cpu" there is nothing to compare, and the
        report says so.
    seed
        Of the cotangent.

    Raises
    ------
    CheckError
        If values or gradients differ by more than rounding, or are on another device than the inputs.

    Examples
    --------
    >>> from minigrad.testing import check_devices
    >>> check_devices(mg.exp, mg.ones(3)).passed
    True
    """
    function = function_of("check_devices", f, inputs, finite=False)
    assert isinstance(function, OfTensors)
    names = list(kernels.available() if devices is None else devices)
    if unknown := [name for name in names if name not in kernels.available()]:
        raise ArgumentError(f"check_devices: this machine has no device {unknown[0]!r}")
    found = Findings()
    expected = _on(function, "cpu", seed, found)
    others = [name for name in names if name != "cpu"]
    for name in others:
        results = _on(function, name, seed, found)
        for what, result, one in zip(("the value", *function.names), results, expected, strict=True):
            slack = 4 * rounding(one.dtype, one.size) * np.abs(one[np.isfinite(one)]).max(initial=0.0)
            if result.shape != one.shape or not np.allclose(result, one, rtol=0, atol=slack, equal_nan=True):
                found.problems.append(f"on {name} {what} is another one")
    found.facts.append(f"{', '.join(others)} against cpu" if others else "there is but one device, the cpu")
    return found.report("check_devices", f, inputs, seed=seed).required()


def _on(function: OfTensors, device: str, seed: int, found: Findings) -> list[np.ndarray]:
    """The value and the gradients, from a device."""
    moved = replace(function, leaves=tuple(x.to(device) if isinstance(x, Tensor) else x for x in function.leaves))
    value, pullback = vjp(moved.tensor, *(moved.leaves[place] for place in function.places))
    cotangent = np.random.default_rng(seed).standard_normal(value.shape).astype(value.dtype)
    results = value, *pullback(asarray(cotangent).to(device))
    if any(x.device != device for x in results):
        found.problems.append(f"for inputs on {device}, a result is elsewhere")
    return [x.to("cpu").numpy() for x in results]
