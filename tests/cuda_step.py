"""A training step through the whole of the GPU's runtime: `NUMBA_ENABLE_CUDASIM=1 python -m tests.cuda_step`.

The driver packs arguments and manages memory as before a GPU. The stub of NVIDIA's library unpacks them from their
bytes and has numba's simulator run the kernel on its memory: an address that was given back is an error.
"""

import os
import struct
import sys
from ctypes import POINTER, c_void_p, string_at
from types import SimpleNamespace

import numpy as np

import minigrad as mg
from minigrad import nn, optim
from minigrad.kernels.cuda import checks, simulator
from minigrad.kernels.cuda.driver import Compiled, Driver, _code
from tests.cuda_stub import Configuration, Stub, c

Simulator = simulator.Simulator


class Running(Stub):
    """The library, which runs kernels."""

    def __init__(self):
        super().__init__()
        self.simulator, self.kernels, self.errors = Simulator(), {}, []

    @c(POINTER(Configuration), c_void_p, POINTER(c_void_p), c_void_p)
    def do_cuLaunchKernelEx(self, configuration, function, parameters, extra):
        try:
            one, (compiled, signature) = configuration[0], self.kernels[function]
            assert (one.gridY, one.gridZ, one.blockY, one.blockZ, one.shared) == (1, 1, 1, 1, 0)
            slots = (string_at(parameters[i], 8) for i in range(1000))
            args = tuple([self._argument(kind, slots) for kind in signature])
            self.simulator.launch(compiled, one.gridX, one.blockX, args)
        except Exception as error:  # which cannot pass through C
            self.errors.append(repr(error))
            return 719
        self.launches.append(function)

    def _argument(self, kind, slots):
        if isinstance(kind, tuple) and kind[0] == "tuple":
            return tuple([struct.unpack("<q", next(slots))[0] for _ in range(kind[1])])
        if kind is int:
            return struct.unpack("<q", next(slots))[0]
        if not isinstance(kind, tuple):
            return kind.type(struct.unpack(f"<{_code(kind)}", next(slots))[0])
        (address,), dtype = struct.unpack("<Q", next(slots)), kind[1]
        for base, block in self.memory.items():
            if base <= address < base + len(block):
                buffer = np.frombuffer(block, np.uint8)
                return SimpleNamespace(buffer=buffer, dtype=dtype, offset=(address - base) // dtype.itemsize)
        raise ValueError(f"{address:x} is nobody's memory")

    @c(*Stub.do_cuMemFreeAsync.types)
    def do_cuMemFreeAsync(self, address, stream):
        if address not in self.memory:
            self.errors.append(f"{address:x} given back twice")
        return super().do_cuMemFreeAsync(address, stream)


class Machine(Driver):
    """The driver; its kernels are the simulator's, and small as there."""

    threads = 2

    def __init__(self, stub):
        super().__init__(stub)
        self.stub, self.blocks, self.most_blocks = stub, 2, 2

    def compile(self, kernel, signature):
        function = len(self.stub.kernels) + 1
        self.stub.kernels[function] = self.stub.simulator.compile(kernel, signature), signature
        return Compiled(0, function, signature)


def trained(device):
    """The parameters after two steps of each optimiser, and the losses."""
    mg.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(1, 2, 3, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    ).to(device)
    x, y = mg.random.default.normal((2, 1, 6, 6)).to(device), mg.tensor([2, 0], device=device)
    losses = []
    for make in lambda p: optim.SGD(p, lr=0.1, momentum=0.9), lambda p: optim.Adam(p, lr=0.1):
        optimizer = make(model.parameters())
        for _ in range(2):
            loss = nn.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return [*losses, *(value for part in model.parameters() for value in part.detach().numpy().ravel().tolist())]


def main():
    stub = Running()
    machine = Machine(stub)
    simulator.Simulator = lambda: machine
    there = trained("cuda")
    here = trained("cpu")
    np.testing.assert_allclose(there, here, rtol=2e-4, atol=2e-5)
    assert not stub.errors, stub.errors
    assert not stub.astray
    checks.clear()  # their notes are more than all parameters
    stats = machine.memory_stats()
    assert stats.in_use < stats.kept  # most of what was made is dead
    print(f"{len(stub.launches)} launches of {len(stub.kernels)} kernels; {len(stub.memory)} arrays are alive")


if __name__ == "__main__":
    if os.environ.get("NUMBA_ENABLE_CUDASIM") != "1":
        sys.exit("NUMBA_ENABLE_CUDASIM=1 belongs in the environment")
    main()
