"""The GPU's driver, before a stub of NVIDIA's library: packing, memory, copies, errors, threads; needs no GPU."""

import importlib.util
import os
import re
import struct
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from minigrad.errors import DeviceError, OutOfMemoryError
from minigrad.kernels.cuda import libcuda, ptx
from minigrad.kernels.cuda import machine as machines
from minigrad.kernels.cuda.array import empty, from_numpy
from minigrad.kernels.cuda.compiler import KERNELS, Kernel
from minigrad.kernels.cuda.copies import to_numpy, zeros
from minigrad.kernels.cuda.driver import Driver, Uploads
from tests.cuda_stub import ILLEGAL_ADDRESS, NO_DEVICE, UNSUPPORTED_PTX_VERSION, Stub

pytestmark = pytest.mark.skipif(machines.SIMULATED, reason="this process has numba's simulator")


@pytest.fixture
def kernel():
    yield Kernel(lambda *args: None)
    KERNELS.pop()


def bits(kind, value):
    return struct.pack(f"<{kind}", value)


def test_what_the_machine_is(stub):
    driver = machines.machine()
    assert machines.is_available()
    assert (driver.name, driver.capability, driver.version) == ("Stub 100", (9, 0), (13, 0))
    assert (driver.threads, driver.blocks, driver.most_blocks) == (256, 132 * 8, 132 * 64)
    assert stub.threshold == (4, 2**64 - 1)


# ---- launches --------------------------------------------------------------------------------------------------------


def test_arguments_arrive_bit_by_bit(stub, kernel):
    x = from_numpy(np.arange(6, dtype=np.float32))
    part = x.view((2,), (1,), 3)
    huge, tiny, flag = np.uint8(200), np.int16(-7), np.bool_(True)
    single, double = np.float32(0.1), np.float64(0.1)
    kernel(7, 64, -5, x, (1, -(2**40)), part, single, double, huge, tiny, flag, np.float32(-np.inf))
    ((grid, block, shared, stream, values),) = stub.launches
    assert (grid, block, shared, stream) == ((7, 1, 1), (64, 1, 1), 0, machines.machine().stream)
    address = x.buffer.address
    assert values[:5] == [bits("q", it) for it in (-5, address, 1, -(2**40), address + 12)]
    assert values[5][:4] == single.tobytes()
    assert values[6] == double.tobytes()
    assert (values[7][0], values[8][:2], values[9][0]) == (200, tiny.tobytes(), 1)
    assert values[10][:4] == bits("f", -np.inf)


def test_a_kernel_is_compiled_once_for_each_signature(stub, kernel):
    for n in 1, 2, np.float32(3), 4:
        kernel(1, 1, n)
    assert len(stub.calls("cuModuleLoadDataEx")) == 2
    assert [values[0][:4] for *_, values in stub.launches] == [
        *(bits("q", 1)[:4], bits("q", 2)[:4], bits("f", 3), bits("q", 4)[:4])
    ]


def test_a_grid_strides_where_there_are_more_elements_than_threads(stub, kernel):
    for n in 0, 1, 257, 1 << 30:
        kernel.over(n)
    assert [grid for grid, *_ in stub.launches] == [(1, 1, 1), (2, 1, 1), (132 * 64, 1, 1)]


def test_threads_do_not_mix_their_arguments(stub, kernel):
    machines.machine()
    start = threading.Barrier(4)

    def many(number):
        start.wait()
        for i in range(100):
            kernel(number + 1, 1, (number, i, number, i))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(many, range(4)))
    found = [(grid[0] - 1, [int.from_bytes(it, "little") for it in values]) for grid, *_, values in stub.launches]
    assert all(values == [number, values[1], number, values[1]] for number, values in found)
    assert sorted((number, values[1]) for number, values in found) == [(n, i) for n in range(4) for i in range(100)]
    assert len(stub.calls("cuCtxSetCurrent")) == 5  # in each thread, once


def test_with_several_gpus_ours_is_chosen_again_by_each_call(stub, kernel):
    """As PyTorch may have chosen another one meanwhile."""
    stub.gpus = 2
    x = empty((3,), np.float32)
    before = len(stub.log)
    kernel(1, 1, x)
    to_numpy(x)
    del x
    kept = [name for name in stub.names()[before:] if not name.startswith("cuModule")]
    calls = ["cuLaunchKernelEx", "cuMemcpyDtoHAsync_v2", "cuStreamSynchronize", "cuMemFreeAsync"]
    assert [name for name in kept if name != "cuCtxSetCurrent"] == calls
    assert all(kept[kept.index(name) - 1] == "cuCtxSetCurrent" for name in calls)


def test_training_through_the_driver():
    """Kernels run by the simulator, from the bytes that the driver packed, in the memory that it manages."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.cuda_step"],
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\d{3,} launches of \d+ kernels; \d+ arrays are alive\n", done.stdout)


# ---- memory ----------------------------------------------------------------------------------------------------------


def test_memory_goes_back_in_stream_order_with_the_last_view(stub):
    x = from_numpy(np.ones(4, np.float32))
    address, view = x.buffer.address, x.view((2,), (1,))
    del x
    assert address in stub.memory
    del view
    assert stub.calls("cuMemFreeAsync") == [("cuMemFreeAsync", address, machines.machine().stream)]


def test_an_array_dies_in_a_thread_that_never_saw_the_gpu(stub):
    one = [empty((3,), np.float32)]
    thread = threading.Thread(target=one.clear)
    thread.start()
    thread.join()
    assert stub.names()[-2:] == ["cuCtxSetCurrent", "cuMemFreeAsync"]


def test_too_little_memory_is_found_among_the_dead(stub):
    driver, size = machines.machine(), 40 << 20
    driver.allocate(size)
    assert (driver.memory_stats().in_use, driver.memory_stats().kept) == (0, size)
    before = len(stub.log)
    buffer = driver.allocate(size)
    assert [name for name in stub.names()[before:] if name != "cuMemFreeAsync"] == [
        *("cuMemAllocAsync", "cuStreamSynchronize", "cuMemPoolTrimTo", "cuMemAllocAsync")
    ]
    assert driver.memory_stats().in_use == len(stub.memory[buffer.address]) == size


def test_arrays_in_cycles_are_dead_too(stub):
    driver, size = machines.machine(), 40 << 20
    cycle = [driver.allocate(size)]
    cycle.append(cycle)
    del cycle
    assert driver.allocate(size).nbytes == size


@pytest.mark.parametrize("call", ["cuModuleLoadDataEx", "cuLaunchKernelEx"])
def test_a_kernel_that_finds_too_little_memory_tries_again(stub, kernel, call):
    machines.machine()
    stub.short.append(call)
    kernel(1, 1, 5)
    names = [name for name in stub.names() if name in (call, "cuMemPoolTrimTo")]
    assert names == [call, "cuMemPoolTrimTo", call]
    assert [values for *_, values in stub.launches] == [[bits("q", 5)]]


def test_what_is_remembered_goes_where_memory_is_short(stub):
    driver, size = machines.machine(), 40 << 20
    remember = machines.remembered(4)(driver.allocate)
    remember(size)
    assert driver.memory_stats().in_use == size
    driver.release_memory()
    assert driver.memory_stats().in_use == 0
    remember(size)
    assert driver.allocate(size).nbytes == size
    machines._remembering.pop()


def test_zeros_are_written_by_the_driver(stub):
    np.testing.assert_array_equal(to_numpy(zeros((3, 2), np.float32)), np.zeros((3, 2), np.float32))
    assert not stub.launches


def test_out_of_memory_says_what_there_is_and_does_no_harm(stub):
    driver, size = machines.machine(), 40 << 20
    first = driver.allocate(size)
    with pytest.raises(OutOfMemoryError) as caught:
        driver.allocate(size)
    lines = str(caught.value).splitlines()
    assert lines[0] == "out of memory: Stub 100 has no 41,943,040 bytes for an array"
    assert f"in_use={size}, kept=0, peak={size}" in lines[1]
    del first
    assert driver.allocate(size).nbytes == size


# ---- copies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8, np.bool_])
def test_there_and_back(stub, dtype):
    x = np.arange(12).reshape(3, 4).astype(dtype)
    there = from_numpy(x.T)
    assert there.shape == (4, 3)
    np.testing.assert_array_equal(to_numpy(there), x.T)
    np.testing.assert_array_equal(to_numpy(there.view((2, 3), (3, 1), 3)), x.T[1:3])
    assert to_numpy(from_numpy(x[:0])).shape == (0, 4)


def test_uploads_go_beside_the_computation(stub, monkeypatch):
    """In a stream of their own, through a ring of page-locked pieces that are used again when they have been read."""
    monkeypatch.setattr(Uploads, "SIZE", 64)
    x = np.arange(5 * 64 + 5, dtype=np.uint8)
    there = from_numpy(x)
    np.testing.assert_array_equal(to_numpy(there), x)
    driver = machines.machine()
    other = driver._uploads._stream
    assert other != driver.stream
    assert [entry[-1] for entry in stub.calls("cuMemAllocAsync", "cuMemcpyHtoDAsync_v2")] == [other] * 7
    locked = [entry[2] for entry in stub.calls("cuMemcpyHtoDAsync_v2")]
    assert len(set(locked)) == 4
    assert locked[4:] == locked[:2]
    steps = stub.calls("cuEventSynchronize", "cuMemcpyHtoDAsync_v2", "cuEventRecord", "cuStreamWaitEvent")
    names, events = [entry[0] for entry in steps], [entry[1] for entry in steps]
    piece = ["cuEventSynchronize", "cuMemcpyHtoDAsync_v2", "cuEventRecord"]
    assert names == [*(piece * 6), "cuEventRecord", "cuStreamWaitEvent"]
    assert events[0:18:3] == events[2:18:3]
    assert steps[-2][1:] == (events[18], other)
    assert steps[-1][1:] == (driver.stream, events[18], 0)


def test_an_upload_that_fails_gives_its_memory_back_when_its_copies_are_through(stub, monkeypatch):
    monkeypatch.setattr(Uploads, "SIZE", 64)
    x = np.zeros(150, np.uint8)
    copied, synchronize = [], stub.cuEventSynchronize

    def interrupted(event):
        copied.append(event)
        if len(copied) == 2:
            raise KeyboardInterrupt
        return synchronize(event)

    driver = machines.machine()
    with monkeypatch.context() as during:
        during.setattr(driver._library, "cuEventSynchronize", interrupted)
        with pytest.raises(KeyboardInterrupt):
            driver.upload(x)
    assert stub.names().count("cuMemcpyHtoDAsync_v2") == 1
    assert stub.calls("cuMemFreeAsync")[-1][2] == driver.stream  # which has waited: else it would be `astray`
    np.testing.assert_array_equal(to_numpy(from_numpy(x)), x)


# ---- errors ----------------------------------------------------------------------------------------------------------


def test_no_library(monkeypatch):
    monkeypatch.setattr(libcuda, "NAME", "there-is-no-such-library.so")
    with pytest.raises(DeviceError, match=r"^no GPU: NVIDIA's driver library, there.*\.so, is not installed$"):
        Driver()


@pytest.mark.parametrize("stub", [Stub(cuInit=NO_DEVICE), Stub(gpus=0)])
def test_no_gpu(stub):
    with pytest.raises(DeviceError, match="no GPU: NVIDIA's driver finds none"):
        Driver(stub)


def test_an_old_gpu(stub, monkeypatch):
    monkeypatch.setattr(Driver, "_attribute", lambda self, which: 7)
    with pytest.raises(DeviceError, match=r"^Stub 100 is of compute capability 7\.7; the kernels need 8\.0 or later$"):
        Driver(stub)


def test_a_forked_process(monkeypatch):
    with pytest.raises(DeviceError, match=r"(?s)CUDA_ERROR_NOT_INITIALIZED \(3\).*hint: a forked process cannot"):
        Driver(Stub(cuInit=3))


def test_a_driver_without_a_function():
    with pytest.raises(DeviceError, match="driver is too old: it has no cuLaunchKernelEx"):
        Driver(type("Old", (Stub,), {"do_cuLaunchKernelEx": None})())


def test_no_numba_cuda(stub, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DeviceError, match=r"numba-cuda is not installed\nhint: pip install 'numba-cuda\[cu13\]"):
        machines.machine()
    assert not machines.is_available()


@pytest.mark.parametrize(
    ("version", "line"),
    [
        ((13, 2), "pip install 'numba-cuda[cu13]>=0.30,<0.31' 'cuda-toolkit==13.0.*'"),
        ((12, 4), "pip install 'numba-cuda[cu12]>=0.30,<0.31' 'cuda-toolkit==12.4.*'"),
        ((12, 7), "pip install 'numba-cuda[cu12]>=0.30,<0.31' 'cuda-toolkit==12.6.*'"),
        ((11, 8), "install a newer driver of NVIDIA's first"),
    ],
)
def test_the_line_that_installs_what_the_driver_can_read(version, line):
    assert machines.pip(version) == line


def test_a_driver_too_old_for_the_ptx(stub, kernel):
    stub.version, stub.failing["cuModuleLoadDataEx"] = 12040, UNSUPPORTED_PTX_VERSION
    with pytest.raises(DeviceError) as caught:
        kernel(1, 1)
    assert str(caught.value) == (
        "NVIDIA's driver, of CUDA 12.4, is too old for the PTX of the compiler, 9.0\n"
        "hint: pip install 'numba-cuda[cu12]>=0.30,<0.31' 'cuda-toolkit==12.4.*'"
    )


def test_what_the_assembler_says(stub, kernel, monkeypatch):
    monkeypatch.setattr(ptx, "kept", lambda *_: ("go", "nonsense"))
    with pytest.raises(DeviceError, match=r"(?s)CUDA_ERROR_INVALID_PTX \(218\), a PTX.*line 1: no kernel"):
        kernel(1, 1)


def test_a_launch_that_fails(stub, kernel):
    stub.failing["cuLaunchKernelEx"] = ILLEGAL_ADDRESS
    with pytest.raises(DeviceError) as caught:
        kernel(1, 1)
    assert str(caught.value) == (
        "cuLaunchKernelEx: CUDA_ERROR_ILLEGAL_ADDRESS (700), an illegal memory access was encountered\n"
        "hint: the process has lost the GPU for good: start it again"
    )


def test_an_error_without_a_name(stub, kernel):
    stub.failing["cuLaunchKernelEx"] = 999
    with pytest.raises(DeviceError, match=r"^cuLaunchKernelEx: unknown \(999\), unknown$"):
        kernel(1, 1)


# ---- PTX on the disk -------------------------------------------------------------------------------------------------


@pytest.fixture
def compilations(monkeypatch, tmp_path):
    """How often the compiler ran, with an empty cache."""
    ran = []

    def compiled(kernel, signature, capability):
        ran.append((kernel, signature, capability))
        return "go", f".visible .entry go({capability}\n"

    monkeypatch.setattr(ptx, "compiled", compiled)
    monkeypatch.setenv("MINIGRAD_CACHE", str(tmp_path))
    return ran


def test_ptx_is_kept_on_the_disk(compilations, kernel, tmp_path):
    for capability in (8, 0), (9, 0), (8, 0):
        for signature in (int,), (("pointer", np.dtype("f4")),), (("pointer", np.dtype("f8")),), (np.dtype("f4"),):
            symbol, text = ptx.kept(kernel, signature, capability)
            assert (symbol, text) == ("go", f".visible .entry go({capability}\n")
    assert len(compilations) == 8
    assert len(list(tmp_path.rglob("*.ptx"))) == len(list(tmp_path.rglob("*.*"))) == 8


def test_kernels_of_one_text_differ_by_what_they_close_over():
    def scaled(factor):
        return Kernel(lambda n, x: x[n] * factor)

    made = [scaled(2), scaled(3), scaled(2)]
    keys = [ptx.key(it, (int,), (9, 0)) for it in made]
    bounded = Kernel(made[0].function, threads=64)
    del KERNELS[-4:]
    assert keys[0] == keys[2] != keys[1]
    assert ptx.key(bounded, (int,), (9, 0)) != keys[0]


def test_a_damaged_file_counts_as_missing(compilations, kernel, tmp_path):
    ptx.kept(kernel, (int,), (9, 0))
    (path,) = tmp_path.rglob("*.ptx")
    for damage in b"", b"\xff", path.read_bytes()[:-1]:
        path.write_bytes(damage)
        ptx.kept(kernel, (int,), (9, 0))
    assert len(compilations) == 4
    ptx.kept(kernel, (int,), (9, 0))
    assert len(compilations) == 4


def test_no_place_to_write(compilations, kernel, monkeypatch, tmp_path):
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("MINIGRAD_CACHE", str(file))
    assert ptx.kept(kernel, (int,), (9, 0))[0] == "go"


def test_the_real_compiler():
    """Where there is one, parameters are 8 bytes or less each, tuples flattened, as they are packed."""
    kernel = Kernel(copying)
    KERNELS.pop()
    signature = (int, ("pointer", np.dtype("f4")), ("tuple", 3), np.dtype("f4"), np.dtype("u1"))
    try:
        symbol, text = ptx.compiled(kernel, signature, (9, 0))
    except DeviceError as error:
        pytest.skip(str(error))
    assert text.count(".param") >= 7
    assert f"{symbol}_param_6" in text
    assert f"{symbol}_param_7" not in text


def copying(n, out, sizes, value, small):
    out[n] = value + sizes[0] + sizes[2] + small
