"""A GPU behind NVIDIA's driver, called by ctypes."""

from minigrad.errors import DeviceError


class Driver:
    """The machine of this process's GPU."""

    def __init__(self) -> None:
        raise DeviceError("no GPU: NVIDIA's driver library is not installed")
