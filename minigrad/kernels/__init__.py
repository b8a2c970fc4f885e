"""Kernels: arrays in, newly allocated arrays out. No tensors, no gradients, no checks.

Each device is one folder here with the same function names and argument order (`reference.py` is the slow, obvious
version of those that numpy does not have). A device's package has four names beside its kernels:

- `is_available()`, whether this machine has such a device;
- `Array`, the type of its arrays; an op runs on the device whose array type its inputs have;
- `from_numpy(array)` and `to_numpy(array)`, which copy between the host and the device where that is needed.
"""

import functools
import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

from minigrad.errors import DeviceError

DEVICES = ("cpu", "cuda")


@functools.cache
def backend(device: str) -> ModuleType:
    """Return the package of kernels of a device, by its name.

    Raises
    ------
    DeviceError
        If this version of minigrad has no such device.
    """
    if device not in DEVICES:
        raise DeviceError(f"no device {device!r}\nhint: the devices are {', '.join(DEVICES)}")
    return importlib.import_module(f"minigrad.kernels.{device}")


def available() -> tuple[str, ...]:
    """Return the names of the devices that this machine has.

    >>> available()[0]
    'cpu'
    """
    return tuple([device for device in DEVICES if backend(device).is_available()])


@functools.cache
def device_of(array_type: type) -> str:
    """Return the name of the device whose arrays have this type."""
    for device in DEVICES:
        if backend(device).Array is array_type:
            return device
    raise DeviceError(f"no device has arrays of type {array_type.__name__}")


@functools.cache
def kernel(name: str, array_type: type) -> Callable[..., Any]:
    """Return the kernel `name` for arrays of a type."""
    return getattr(backend(device_of(array_type)), name)


class Kernels(dict[type, Callable[..., Any]]):
    """The kernels of one name, by the type of the arrays; each is found at its first use, and then as fast as can be.

    >>> import numpy
    >>> Kernels("sqrt")[numpy.ndarray](numpy.array([4.0]))
    array([2.])
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __missing__(self, array_type: type) -> Callable[..., Any]:
        self[array_type] = found = kernel(self.name, array_type)
        return found

    def there(self, array_type: type) -> bool:
        """Whether the device has such a kernel at all; fused ops do without one where it does not pay."""
        return array_type in self or hasattr(backend(device_of(array_type)), self.name)
