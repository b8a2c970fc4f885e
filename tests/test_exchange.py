"""Arrays shared with other libraries: on the CPU with numpy and PyTorch; on the GPU, before a stub, field by field."""

import ctypes
import gc

import numpy as np
import pytest

import minigrad as mg
from minigrad.errors import ArgumentError, DeviceError, DtypeError, GraphError, OperandError
from minigrad.kernels.cuda import exchange
from minigrad.kernels.cuda import machine as machines
from minigrad.kernels.cuda.array import from_numpy
from minigrad.kernels.cuda.copies import to_numpy
from minigrad.tensor import Tensor

DTYPES = ["float32", "float64", "int8", "int64", "uint8", "bool"]


# ---- the CPU ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_numpy_sees_our_memory_and_cannot_write(dtype):
    x = mg.arange(6).reshape(2, 3).astype(dtype).mT
    seen = np.from_dlpack(x)
    assert np.shares_memory(seen, x.numpy())
    assert not seen.flags.writeable
    np.testing.assert_array_equal(seen, x.numpy())
    assert x.__dlpack_device__() == (1, 0)


def test_what_cannot_say_read_only_is_refused():
    with pytest.raises(BufferError):
        mg.ones(2).__dlpack__()


def test_a_copy_may_be_changed():
    x = mg.ones(2)
    copy = np.from_dlpack(x, copy=True)
    copy[0] = 5
    assert x.tolist() == [1, 1]


def test_a_gradient_is_not_lost_in_silence():
    x = mg.ones(2)
    x.requires_grad = True
    with pytest.raises(GraphError, match="would lose the gradient"):
        np.from_dlpack(x)
    assert np.from_dlpack(x.detach()).shape == (2,)


@pytest.mark.parametrize("dtype", DTYPES)
def test_we_see_the_memory_of_others(dtype):
    theirs = np.arange(6).reshape(2, 3).astype(dtype)[:, ::-1]
    ours = mg.from_dlpack(theirs)
    assert np.shares_memory(ours.numpy(), theirs)
    np.testing.assert_array_equal(ours.numpy(), theirs)
    assert not np.shares_memory(mg.from_dlpack(theirs, copy=True).numpy(), theirs)
    assert mg.from_dlpack(mg.from_dlpack(theirs)).tolist() == theirs.tolist()


def test_pytorch_and_back():
    torch = pytest.importorskip("torch")
    x = mg.tensor([[1.0, 2.0], [3.0, 4.0]])
    there = torch.from_dlpack(x.mT)
    assert there.data_ptr() == x.numpy().ctypes.data
    assert there.tolist() == [[1, 3], [2, 4]]
    back = mg.from_dlpack(there * 2)
    assert back.tolist() == [[2, 6], [4, 8]]
    with pytest.raises(DtypeError, match="minigrad has no"):
        mg.from_dlpack(torch.ones(2, dtype=torch.float16))


def test_what_is_no_array():
    with pytest.raises(OperandError, match="a list has no __dlpack__"):
        mg.from_dlpack([1.0])


def test_a_device_of_another_kind():
    class Elsewhere:
        def __dlpack_device__(self):
            return 10, 0

        def __dlpack__(self, **options): ...

    with pytest.raises(DeviceError, match="no device of DLPack's kind 10"):
        mg.from_dlpack(Elsewhere())


def test_a_cpu_tensor_has_no_cuda_interface():
    assert not hasattr(mg.ones(2), "__cuda_array_interface__")


# ---- the GPU ---------------------------------------------------------------------------------------------------------

X = np.arange(24, dtype=np.float32).reshape(4, 6)


def part():
    """Rows 1 and 3 of X on the GPU, backwards."""
    x = from_numpy(X)
    return x.view((2, 6), (12, -1), 11)


def record(capsule):
    return exchange._Versioned.from_address(exchange._pointer(id(capsule), exchange.NEW))


def test_the_fields_of_a_capsule(stub):
    array = part()
    capsule = Tensor._wrap(array).__dlpack__(stream=77, max_version=(1, 1))
    one = record(capsule)
    tensor = one.tensor
    assert (one.major, one.minor, one.flags) == (1, 0, 1)
    assert (tensor.device, tensor.number, tensor.ndim) == (2, 0, 2)
    assert (tensor.code, tensor.bits, tensor.lanes) == (2, 32, 1)
    assert (tensor.shape[:2], tensor.strides[:2]) == ([2, 6], [12, -1])
    first = ctypes.c_float.from_address(tensor.data + tensor.byte_offset)
    assert first.value == X[1, 5]
    assert Tensor._wrap(array).__dlpack_device__() == (2, 0)


def test_the_consumer_waits_for_us_and_we_for_it(stub):
    ours = machines.machine().stream
    capsule = part().__dlpack__(stream=77, max_version=(1, 0))
    (_, event, first), (_, then, awaited, _) = stub.calls("cuEventRecord", "cuStreamWaitEvent")[-2:]
    assert (first, then, awaited) == (ours, 77, event)
    start = len(stub.log)
    gc.collect()
    address = record(capsule).tensor.data
    assert address in stub.memory
    deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(record(capsule).deleter)
    place = exchange._pointer(id(capsule), exchange.NEW)
    rename = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_SetName", ctypes.pythonapi))
    rename(capsule, used := b"used_dltensor_versioned")
    del capsule
    assert address in stub.memory  # a consumer has it
    deleter(place)
    assert used
    assert address not in stub.memory
    (_, _, flags), (_, event, first), (_, then, awaited, _), gone, freed = stub.log[start:]
    assert flags == 2
    assert (first, then, awaited) == (77, ours, event)
    assert (gone, freed) == (("cuEventDestroy_v2", event), ("cuMemFreeAsync", address, ours))


def test_a_capsule_that_nobody_took_gives_its_memory_back(stub):
    capsule = part().__dlpack__(stream=-1, max_version=(1, 0))
    address = record(capsule).tensor.data
    assert address in stub.memory
    assert not stub.calls("cuStreamWaitEvent")[1:]  # the upload's own
    del capsule
    assert address not in stub.memory
    assert not exchange._lent


def test_gpu_refusals(stub):
    array = part()
    with pytest.raises(BufferError, match="read-only"):
        array.__dlpack__()
    with pytest.raises(BufferError, match=r"not on \(1, 0\)"):
        array.__dlpack__(dl_device=(1, 0), max_version=(1, 0))
    x = Tensor._wrap(array)
    x.requires_grad = True
    with pytest.raises(GraphError, match=r"lend x\.detach"):
        x.__dlpack__(max_version=(1, 0))
    with pytest.raises(ArgumentError, match="copy=False"):
        mg.from_dlpack(Tensor._wrap(array), copy=False)


def test_the_cuda_array_interface(stub):
    array = part()
    assert Tensor._wrap(array).__cuda_array_interface__ == {
        "version": 3,
        "shape": (2, 6),
        "typestr": "<f4",
        "data": (array.buffer.address + 44, True),
        "strides": (48, -4),
        "stream": machines.machine().stream,
    }
    assert from_numpy(X).__cuda_array_interface__["strides"] is None
    assert from_numpy(X[:0]).__cuda_array_interface__["data"] == (0, True)


@pytest.mark.parametrize("version", [None, (1, 0)])
def test_what_comes_from_a_gpu_is_copied_before_it_may_go(stub, monkeypatch, version):
    """The copy is a kernel: here the stub's memory is the host's, and numpy copies."""
    seen = []

    def fill(out, f, x):
        seen.append((x.shape, x.strides))
        whole = np.ctypeslib.as_array((ctypes.c_float * 24).from_address(x.buffer.address))
        start = x.offset * 4
        view = np.lib.stride_tricks.as_strided(whole[start // 4 :], x.shape, [4 * s for s in x.strides])
        ctypes.memmove(out.buffer.address, view.tobytes(), out.nbytes)
        return out

    monkeypatch.setattr(exchange, "fill", fill)
    array = part()

    class Theirs:
        def __dlpack_device__(self):
            return array.__dlpack_device__()

        def __dlpack__(self, stream, **options):
            if version is None and options:
                raise TypeError("an older library")
            assert stream == machines.machine().stream
            return array.__dlpack__(stream=-1, max_version=(1, 0))

    copy = mg.from_dlpack(Theirs())
    np.testing.assert_array_equal(to_numpy(copy._array), X[1::2, ::-1])
    assert seen == [((2, 6), (12, -1))]
    assert not exchange._lent
    theirs_gone = stub.names().index("cuStreamSynchronize")
    assert "cuEventRecord" in stub.names()[theirs_gone:]  # what follows the copy: their memory is given back


def test_another_gpu(stub):
    class Theirs:
        def __dlpack_device__(self):
            return 2, 3

        def __dlpack__(self, **options): ...

    with pytest.raises(DeviceError, match=r"on device \(2, 3\), not on the GPU of this process"):
        mg.from_dlpack(Theirs())


# ---- minigrad.cuda ---------------------------------------------------------------------------------------------------


def test_the_module(stub):
    assert mg.cuda.is_available()
    assert mg.cuda.device_name() == "Stub 100"
    x = from_numpy(X)
    assert mg.cuda.memory_stats().in_use == X.nbytes
    del x
    assert mg.cuda.memory_stats().kept == X.nbytes
    mg.cuda.release_memory()
    assert mg.cuda.memory_stats().kept == 0
    mg.cuda.synchronize()
    assert stub.names()[-1] == "cuStreamSynchronize"


def test_batches_go_to_the_gpu_beside_the_computation(stub):
    from minigrad import data

    images = data.synthetic_scenes("train", per_class=1, size=(8, 8))
    here, there = data.batches(images, 4, shuffle=True), data.batches(images, 4, shuffle=True, device="cuda")
    for (x, y), (u, v) in zip(here, there, strict=True):
        assert u.device == v.device == "cuda"
        np.testing.assert_array_equal(u.numpy(), x.numpy())
        np.testing.assert_array_equal(v.numpy(), y.numpy())
    other = machines.machine()._uploads._stream
    assert {entry[-1] for entry in stub.calls("cuMemcpyHtoDAsync_v2")} == {other}


def test_batches_on_a_device_that_is_not_there():
    from minigrad import data

    if machines.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(DeviceError, match="batches: no device 'cuda' here"):
        data.batches(data.synthetic_scenes("train", per_class=1, size=(8, 8)), 4, device="cuda")
