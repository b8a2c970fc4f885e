"""The GPU's kernels where the table of ops does not lead: long reductions, many axes, whole models."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numba import int64

import minigrad as mg
from minigrad import nn, optim
from minigrad.errors import ArgumentError, IndexingError
from minigrad.kernels import cuda

if not cuda.is_available():
    pytest.skip("needs a GPU, or NUMBA_ENABLE_CUDASIM=1 in the environment", allow_module_level=True)

from minigrad.kernels.cuda import checks
from minigrad.kernels.cuda.array import empty
from minigrad.kernels.cuda.division import divisor
from minigrad.kernels.cuda.elementwise import ABSENT, anyhow
from minigrad.kernels.cuda.machine import SIMULATED, machine


def pair(*shape: int, dtype: str = "float32", seed: int = 0) -> tuple[np.ndarray, mg.Tensor]:
    """An array, and the same on the GPU."""
    array = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    return array, mg.tensor(array, device="cuda")


@pytest.mark.parametrize(("shape", "axis"), [((3, 70), 1), ((9000,), 0), ((300, 3), 0), ((2, 40, 2), 1), ((0, 3), 1)])
def test_long_reductions(shape: tuple[int, ...], axis: int) -> None:
    array, x = pair(*shape)
    np.testing.assert_allclose(x.sum(axis=axis).numpy(), array.sum(axis, dtype="float64"), rtol=2e-6, atol=2e-5)
    if array.size:
        assert np.array_equal(x.max(axis=axis).numpy(), array.max(axis))
        assert np.array_equal(mg.argmax(x, axis=axis).numpy(), array.argmax(axis))


def test_the_first_nan_is_the_extreme() -> None:
    array, _ = pair(400)
    array[[7, 390]] = np.nan
    x = mg.tensor(array, device="cuda")
    assert mg.argmax(x, axis=0).item() == mg.argmin(x, axis=0).item() == 7
    assert np.isnan(x.max().item())


@pytest.mark.parametrize("length", [1, 256, 257, 700])
def test_running_sums_of_several_chunks(length: int) -> None:
    array, x = pair(2, length)
    np.testing.assert_allclose(mg.cumulative_sum(x, axis=1).numpy(), array.cumsum(1, dtype="float64"), atol=1e-5)


def test_many_axes() -> None:
    array, x = pair(2, 3, 2, 3, 2, 2)
    order = (5, 3, 1, 0, 4, 2)
    moved = np.transpose(array, order)
    assert np.array_equal((mg.permute_dims(x, order) + 1).numpy(), moved + 1)
    row, y = pair(2, 1, 2, 1, 2, 1, seed=1)
    assert np.array_equal((x * y).numpy(), array * row)


def test_views_share_memory_and_results_do_not() -> None:
    _, x = pair(4, 6)
    for view in (x[1:, ::-2], mg.permute_dims(x, (1, 0)), x.reshape(24), mg.broadcast_to(x, (2, 4, 6)), x[None, 2]):
        assert view._array.buffer is x._array.buffer
    for result in (x + 0, x.sum(axis=0), x[[0, 1]], x.reshape((6, 4))[::2] * 1):
        assert result._array.buffer is not x._array.buffer


def test_constants_are_never_written_to() -> None:
    one = mg.zeros((), device="cuda")
    y = mg.zeros(3, device="cuda")
    y[1] = 5.0
    x = mg.zeros((1,), device="cuda")
    x[0] = 7.0
    assert (one.item(), y.tolist(), mg.zeros(3, device="cuda").tolist()) == (0.0, [0, 5, 0], [0, 0, 0])


@pytest.mark.skipif(not SIMULATED, reason="a GPU runs threads in one way only")
def test_threads_alone_and_together_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from minigrad.kernels.cuda.simulator import Math, Simulator, Together, linked

    def together(self: Simulator, kernel: Any, signature: Any) -> Any:
        return linked(kernel.function, lambda it: it, cuda=Together(), math=Math), None

    _, x = pair(5, 3)
    kernel = anyhow(lambda x: x * 2 + 1, 1, int64)

    def run() -> np.ndarray:
        out = empty((5, 3), np.float32)
        kernel.over(
            15, *zip(divisor(5), divisor(3), strict=True), out, (3, 1), x._array, (3, 1), ABSENT, (0, 0), ABSENT, (0, 0)
        )
        return cuda.to_numpy(out)

    alone = run()
    monkeypatch.setattr(Simulator, "compile", together)
    kernel._compiled.clear()
    assert np.array_equal(alone, run())


def trained(device: str, optimizer: Any, steps: int = 3) -> list[np.ndarray]:
    """The parameters of a small network after some steps."""
    mg.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Flatten(), nn.Dropout(0.25), nn.Linear(4 * 3 * 3, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 3)),
    ).to(device)
    step = optimizer(model.parameters())
    images = mg.Generator(1).normal((6, 1, 6, 6)).to(device)
    labels = mg.tensor([0, 1, 2, 0, 1, 2], device=device)
    for _ in range(steps):
        loss = nn.CrossEntropyLoss()(model(images), labels)
        step.zero_grad()
        loss.backward()
        step.step()
    assert all(p.device == device for p in model.parameters())
    return [x.to("cpu").detach().numpy() for x in model.state_dict().values()]


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda parameters: optim.SGD(parameters, 0.1, momentum=0.9, weight_decay=0.01),
        lambda parameters: optim.SGD(parameters, 0.1),
        lambda parameters: optim.Adam(parameters, 0.01),
    ],
)
def test_a_network_learns_the_same_on_both_devices(optimizer: Any) -> None:
    for ours, cpu in zip(trained("cuda", optimizer), trained("cpu", optimizer), strict=True):
        np.testing.assert_allclose(ours, cpu, rtol=2e-3, atol=2e-4)


def test_the_same_bits_each_time() -> None:
    runs = [trained("cuda", lambda parameters: optim.Adam(parameters, 0.01), steps=1) for _ in range(2)]
    assert all(first.tobytes() == second.tobytes() for first, second in zip(*runs, strict=True))


def test_numbers_are_told_apart_by_their_bits() -> None:
    x = mg.ones(5, device="cuda")
    assert (x / 0.0).tolist() == [np.inf] * 5
    assert (x / -0.0).tolist() == [-np.inf] * 5


def test_axes_of_one_element_lie_anyhow() -> None:
    array, x = pair(3, 4)
    assert x[None]._array.in_one_piece
    assert np.array_equal((x[None] * x[None]).numpy(), array[None] ** 2)
    assert not mg.permute_dims(x, (1, 0))._array.in_one_piece


def test_masks_and_integers_by_fours() -> None:
    array, x = pair(21)
    assert np.array_equal((x > 0).numpy(), array > 0)
    assert np.array_equal(mg.where(x > 0, x, 0.0).numpy(), np.where(array > 0, array, 0))
    whole = mg.arange(11, device="cuda")
    assert np.array_equal((whole * 3 // 2).numpy(), np.arange(11) * 3 // 2)


# ---- threads that work together ----------------------------------------------------------------------------------


@pytest.fixture(params=[2, 4, 16])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of one warp, of two and of eight: in the simulator a warp is two threads."""
    if SIMULATED:
        monkeypatch.setattr(type(machine()), "threads", request.param)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("length", [1, 5, 33, 700])
def test_lanes_share_a_line(length: int) -> None:
    array, x = pair(3, length)
    np.testing.assert_allclose(x.sum(axis=1).numpy(), array.sum(1, dtype="float64"), rtol=2e-6, atol=2e-5)
    assert np.array_equal(x.max(axis=1).numpy(), array.max(1))
    assert np.array_equal(mg.argmin(x, axis=1).numpy(), array.argmin(1))
    shifted = np.exp(array - array.max(1, keepdims=True).astype("float64"))
    np.testing.assert_allclose(mg.softmax(x, axis=1).numpy(), shifted / shifted.sum(1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(mg.cumulative_sum(x, axis=1).numpy(), array.cumsum(1, dtype="float64"), atol=1e-5)
    np.testing.assert_allclose((x @ x[1]).numpy(), array.astype("float64") @ array[1], rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_lanes_and_what_is_no_number(value: float) -> None:
    array, _ = pair(2, 40)
    array[0, [3, 30]] = value
    x, cpu = mg.tensor(array, device="cuda"), mg.tensor(array)
    for f in (
        *(lambda x: x.max(axis=1), lambda x: mg.argmax(x, axis=1), lambda x: mg.argmin(x, axis=1)),
        *(lambda x: mg.softmax(x, axis=1), lambda x: mg.log_softmax(x, axis=1)),
    ):
        np.testing.assert_allclose(f(x).numpy(), f(cpu).numpy(), rtol=1e-5)


@pytest.mark.usefixtures("threads")
def test_copies_that_transpose() -> None:
    for shape, order in (
        ((5, 7), (1, 0)),
        ((2, 3, 4, 5), (0, 2, 3, 1)),
        ((3, 2, 9), (2, 1, 0)),
        ((4, 3, 2), (1, 2, 0)),
    ):
        array, x = pair(*shape)
        moved = mg.permute_dims(x, order)
        assert np.array_equal(moved.reshape(-1).numpy(), np.transpose(array, order).reshape(-1))
        assert np.array_equal(moved[1:].reshape(-1).numpy(), np.transpose(array, order)[1:].reshape(-1))


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("length", [1, 2, 3, 37])
def test_sorting_is_stable_whatever_the_length(length: int, descending: bool) -> None:
    array = np.random.default_rng(length).integers(0, 9, (2, length, 3)).astype("float32")
    array[0, ::5, 0] = np.nan
    x, cpu = mg.tensor(array, device="cuda"), mg.tensor(array)
    for f in mg.argsort, mg.sort:
        there, here = (f(one, axis=1, descending=descending).numpy() for one in (x, cpu))
        np.testing.assert_array_equal(there, here)


def test_many_indices_of_few_places() -> None:
    indices = np.random.default_rng(0).integers(-4, 4, (2, 40))
    array, g = pair(2, 40)
    expected = np.zeros((2, 4))
    np.add.at(expected, (np.arange(2)[:, None], indices), array)
    there = mg.scatter_along_axis(g, mg.tensor(indices, device="cuda"), axis=1, shape=(2, 4))
    np.testing.assert_allclose(there.numpy(), expected, rtol=1e-5, atol=1e-5)


# ---- checks that nobody waits for --------------------------------------------------------------------------------


def integers(*values: int) -> mg.Tensor:
    return mg.tensor(list(values), device="cuda")


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda x: mg.softmax_cross_entropy(x, integers(1, 3)),
            ArgumentError,
            "softmax_cross_entropy: label 3 is not one of the c=3 classes\n"
            "  logits (n c ...) = (2, 3)  float32 cuda\n"
            "  labels (n ...)   = (2,)    int64 cuda",
        ),
        (lambda x: mg.one_hot(integers(0, -1), 3), ArgumentError, "one_hot: label -1 is not one of the 3 classes"),
        (
            lambda x: mg.take_along_axis(x, integers(0, -4)[:, None], axis=1),
            IndexingError,
            "take_along_axis: index -4 is out of range for axis 1 with size 3",
        ),
        (
            lambda x: nn.binary_cross_entropy_with_logits(x, x * 0 + 1.5),
            ArgumentError,
            "binary_cross_entropy_with_logits: target 1.5 is not in [0, 1]",
        ),
    ],
)
def test_a_value_out_of_range_is_told_at_the_next_wait(call: Any, error: Any, text: str) -> None:
    _, x = pair(2, 3)
    for wait in x.numpy, mg.cuda.synchronize:
        result = call(x)
        with pytest.raises(error, match=re.escape(text)) as caught:
            wait()
        (note,) = caught.value.__notes__
        assert __file__ in note
        assert result.numpy().shape == result.shape  # it is told once


def test_checks_without_a_wait_wait_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "ROOM", 3)
    mg.one_hot(integers(5), 3)
    for _ in range(2):
        mg.one_hot(integers(2), 3)
    with pytest.raises(ArgumentError, match="label 5"):
        mg.one_hot(integers(2), 3)
    assert mg.one_hot(integers(2), 3).tolist() == [[0, 0, 1]]


def test_another_thread_that_waits_first_is_told() -> None:
    mg.one_hot(integers(5), 3)
    with ThreadPoolExecutor(1) as pool, pytest.raises(ArgumentError, match="label 5"):
        pool.submit(mg.cuda.synchronize).result()
    mg.cuda.synchronize()


@pytest.mark.parametrize(("dtype", "value"), [("int64", 2**62 + 1), ("int8", -128), ("uint64", 2**64 - 1)])
def test_a_large_value_is_told_exactly(dtype: str, value: int) -> None:
    mg.one_hot(mg.tensor(np.array([value], dtype), device="cuda"), 3)
    with pytest.raises(ArgumentError, match=f"label {value} is"):
        mg.cuda.synchronize()


def test_notes_are_used_again_until_one_is_written() -> None:
    mg.one_hot(integers(1), 3)
    mg.cuda.synchronize()
    kept = checks._open.notes
    mg.one_hot(integers(1), 3)
    mg.one_hot(integers(7), 3)
    with pytest.raises(ArgumentError, match="label 7"):
        mg.cuda.synchronize()
    mg.one_hot(integers(1), 3)
    assert checks._open.notes is not kept
    mg.cuda.synchronize()


def test_forgotten_checks_raise_nothing() -> None:
    mg.one_hot(integers(5), 3)
    checks.clear()
    mg.cuda.synchronize()
