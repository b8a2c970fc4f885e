"""A machine without a GPU. It shows wrong indices, wrong barriers and wrong arithmetic of small calls.

Kernels whose threads wait for each other run in numba's simulator, a thread of Python for each; the others one thread
after another, which takes a tenth of the time. It knows no types: that a kernel compiles is another test.
"""

import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda
from numba.cuda.simulator import kernel as simulation
from numba.cuda.simulator.kernelapi import Dim3

from minigrad.errors import DeviceError, OutOfMemoryError
from minigrad.kernels.cuda.machine import forget
from minigrad.kernels.scalars import linked

Function = Callable[..., Any]

ROOM = 1 << 30  # bytes


class Pointer:
    """Memory around an element, as a kernel sees it; what lies outside of the buffer is an error."""

    __slots__ = ("elements", "start")

    def __init__(self, elements: np.ndarray, start: int) -> None:
        self.elements, self.start = elements, start

    def __getitem__(self, i: int) -> Any:
        if self.start + i < 0:
            raise IndexError(f"element {i}")
        return self.elements[self.start + i]

    def __setitem__(self, i: int, value: Any) -> None:
        if self.start + i < 0:
            raise IndexError(f"element {i}")
        self.elements[self.start + i] = value


class Together:
    """What `cuda` means to threads that run side by side in numba's simulator."""

    def __getattr__(self, name: str) -> Any:
        return getattr(simulation._get_kernel_context(), name)


class Alone:
    """What `cuda` means to a thread that runs while no other does."""

    def become(self, *numbers: int) -> None:
        """Be another thread: of a block, in it, of so many blocks, of so many threads."""
        self.blockIdx, self.threadIdx, self.gridDim, self.blockDim = (Dim3(number, 1, 1) for number in numbers)

    def grid(self, axes: int) -> int:
        """The number of the thread, along the only axis."""
        return self.blockIdx.x * self.blockDim.x + self.threadIdx.x

    def gridsize(self, axes: int) -> int:
        """How many threads there are, along the only axis."""
        return self.gridDim.x * self.blockDim.x


class Math:
    """Functions of `math` that give IEEE results where Python's raise, in the type of their argument."""

    inf, nan, pi = math.inf, math.nan, math.pi
    exp, expm1, log, log1p, sqrt, sin, cos, tanh, floor, ceil, pow, fmod, isnan, isinf = (
        *(np.exp, np.expm1, np.log, np.log1p, np.sqrt, np.sin, np.cos, np.tanh, np.floor, np.ceil, np.power, np.fmod),
        *(np.isnan, np.isinf),
    )
    fabs, copysign = np.fabs, np.copysign

    @staticmethod
    def erf(x: Any) -> Any:
        """Of math, in the type of x."""
        return type(x)(math.erf(x))

    @staticmethod
    def erfc(x: Any) -> Any:
        """Of math, in the type of x."""
        return type(x)(math.erfc(x))


class Block(simulation.BlockManager):
    """Runs the threads of a block; numba's own does too, but spends its time on asking each whether it waits."""

    def __init__(self, function: Function, grid: Any, threads: Any, debug: bool) -> None:
        super().__init__(function, grid, threads, debug)
        self._turn = threading.Condition()
        self._running, self._waiting, self._barriers = math.prod(threads), 0, 0

    def run(self, place: Any, *args: Any) -> None:
        """Run them all, and raise what the first that failed raised."""
        threads = [Thread(lambda: self._f(*args), self, place, which, False) for which in np.ndindex(*self._block_dim)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for thread in threads:
            if thread.exception and not isinstance(thread.exception[0], threading.BrokenBarrierError):
                raise thread.exception[0].with_traceback(thread.exception[1])

    def wait(self) -> None:
        """Let a thread wait until all that have not ended wait."""
        with self._turn:
            self._waiting += 1
            seen = self._barriers
            self._pass()
            self._turn.wait_for(lambda: self._barriers != seen)
            if self._barriers < 0:
                raise threading.BrokenBarrierError

    def leave(self, failed: bool) -> None:
        """A thread has ended."""
        with self._turn:
            self._running -= 1
            if failed:
                self._barriers = -1
                self._turn.notify_all()
            self._pass()

    def _pass(self) -> None:
        if self._waiting == self._running and self._barriers >= 0:
            self._waiting = 0
            self._barriers += 1
            self._turn.notify_all()


class Thread(simulation.BlockThread):
    """A thread of a block."""

    def run(self) -> None:
        """Run it, and say that it has ended."""
        super().run()
        self._manager.leave(self.exception is not None)

    def syncthreads(self) -> None:
        """Wait at a barrier."""
        self._manager.wait()


simulation.BlockManager = Block


class Simulator:
    """The machine: its memory is numpy's, and its few threads are enough to have neighbours."""

    name = "numba's CUDA simulator"
    threads, blocks, most_blocks = 2, 2, 2

    def __init__(self) -> None:
        self._one_at_a_time = threading.RLock()

    def allocate(self, nbytes: int) -> np.ndarray:
        """Memory full of what nobody should read."""
        if nbytes > ROOM:
            raise OutOfMemoryError(f"{nbytes} bytes are more than the simulator has")
        return np.full(max(nbytes, 16), 0xA5, np.uint8)

    def zeros(self, nbytes: int) -> np.ndarray:
        """Memory full of zeros."""
        buffer = self.allocate(nbytes)
        buffer[:] = 0
        return buffer

    def upload(self, array: np.ndarray) -> np.ndarray:
        """A copy of an array in one piece."""
        buffer = self.allocate(array.nbytes)
        buffer[: array.nbytes] = array.reshape(-1).view(np.uint8)
        return buffer

    def download(self, *copies: tuple[np.ndarray, np.ndarray, int]) -> None:
        """Copy to arrays in one piece, from so many bytes behind a buffer's first."""
        for array, buffer, offset in copies:
            array.reshape(-1).view(np.uint8)[:] = buffer[offset : offset + array.nbytes]

    def memory_stats(self) -> Any:
        """Nobody counts."""
        raise DeviceError("the simulator does not count its memory")

    def release_memory(self) -> None:
        """Nothing is kept but what is remembered."""
        forget()

    def synchronize(self) -> None:
        """Wait for nothing: launches wait for themselves."""

    def compile(self, kernel: Any, signature: tuple[Any, ...]) -> tuple[Function, Alone | None]:
        """A kernel's function, and what tells it where it is if its threads run alone."""
        called: list[Function] = [kernel.function]

        def note(function: Function) -> Function:
            called.append(function)
            return function

        together = linked(kernel.function, note, cuda=Together(), math=Math)
        if any({"shared", "beside", "syncthreads"} & {*function.__code__.co_names} for function in called):
            return together, None
        alone = Alone()
        return linked(kernel.function, lambda it: it, cuda=alone, math=Math), alone

    def launch(self, compiled: tuple[Function, Alone | None], blocks: int, threads: int, args: tuple[Any, ...]) -> None:
        """Run all threads of all blocks, one block after another; arithmetic ends quietly in IEEE results."""
        (function, alone), given = compiled, [self._argument(value) for value in args]

        def quiet(*args: Any) -> None:
            with np.errstate(all="ignore"):
                function(*args)

        with self._one_at_a_time:
            if alone is None:
                cuda.jit(quiet)[blocks, threads](*given)
                return
            with np.errstate(all="ignore"):
                for block in range(blocks):
                    for thread in range(threads):
                        alone.become(block, thread, blocks, threads)
                        function(*given)

    def _argument(self, value: Any) -> Any:
        if not hasattr(value, "buffer"):
            return value
        end = len(value.buffer) - len(value.buffer) % value.dtype.itemsize
        return Pointer(value.buffer[:end].view(value.dtype), value.offset)
