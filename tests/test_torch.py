"""PyTorch as the oracle: the same weights and data give the same results, gradients and trajectories."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn, optim

torch = pytest.importorskip("torch")
functional = torch.nn.functional

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
dtypes = pytest.mark.parametrize("dtype", TOLERANCE)
often = settings(max_examples=60, deadline=None, derandomize=True)


def numbers(*shape: int, seed: int = 0, dtype: str = "float64") -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def close(ours: mg.Tensor, theirs: Any) -> None:
    """The same dtype and shape, and a difference within the dtype's tolerance of the largest element."""
    expected, result = theirs.detach().numpy(), ours.detach().numpy()
    assert result.dtype == expected.dtype
    assert result.shape == expected.shape
    np.testing.assert_array_equal(np.isfinite(result), np.isfinite(expected))
    np.testing.assert_array_equal(result[~np.isfinite(result)], expected[~np.isfinite(expected)])
    finite = np.isfinite(expected)
    scale = np.abs(expected[finite]).max(initial=0.0)
    error = np.abs(result[finite] - expected[finite]).max(initial=0.0)
    assert error <= TOLERANCE[str(expected.dtype)] * scale, f"relative error {error / scale:.2e}"


def agree(ours: Callable[..., mg.Tensor], theirs: Callable[..., Any], *arrays: np.ndarray) -> None:
    """Equal values, and equal gradients of all arrays for a random cotangent."""
    xs = [mg.tensor(array, requires_grad=True) for array in arrays]
    ts = [torch.tensor(array, requires_grad=True) for array in arrays]
    y, z = ours(*xs), theirs(*ts)
    close(y, z)
    cotangent = numbers(*y.shape, seed=1, dtype=str(y.dtype))
    y.backward(mg.tensor(cotangent))
    z.backward(torch.tensor(cotangent))
    for x, t in zip(xs, ts, strict=True):
        close(x.grad, t.grad)


def twins(make: Callable[[Any], Any], dtype: str) -> tuple[Any, Any]:
    """The same model in both libraries, with the same weights."""
    mg.manual_seed(0)
    ours, theirs = make(nn).to(dtype), make(torch.nn).to(getattr(torch, dtype))
    theirs.load_state_dict({name: torch.tensor(np.array(x)) for name, x in ours.state_dict().items()})
    return ours, theirs


# ---- SimpleNet -------------------------------------------------------------------------------------------------------


def simplenet(nn: Any) -> Any:
    return nn.Sequential(
        *(nn.Conv2d(1, 10, 5), nn.MaxPool2d(3), nn.ReLU()),
        *(nn.Conv2d(10, 20, 5), nn.MaxPool2d(3), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(500, 100), nn.Linear(100, 15)),
    )


@pytest.fixture
def batch() -> tuple[np.ndarray, np.ndarray]:
    return numbers(8, 1, 64, 64), np.random.default_rng(2).integers(0, 15, 8)


def both_losses(ours: Any, theirs: Any, batch: Any, dtype: str) -> tuple[Any, Any, Any, Any]:
    images, labels = batch[0].astype(dtype), batch[1]
    logits, their_logits = ours(mg.tensor(images)), theirs(torch.tensor(images))
    loss = nn.CrossEntropyLoss()(logits, mg.tensor(labels))
    their_loss = torch.nn.CrossEntropyLoss()(their_logits, torch.tensor(labels))
    return logits, their_logits, loss, their_loss


@dtypes
def test_simplenet(dtype: str, batch: Any) -> None:
    ours, theirs = twins(simplenet, dtype)
    assert sum(p.size for p in ours.parameters()) == 56_895
    logits, their_logits, loss, their_loss = both_losses(ours, theirs, batch, dtype)
    close(logits, their_logits)
    close(loss, their_loss)
    loss.backward()
    their_loss.backward()
    named = dict(theirs.named_parameters())
    assert [name for name, _ in ours.named_parameters()] == list(named)
    for name, parameter in ours.named_parameters():
        close(parameter.grad, named[name].grad)


OPTIMIZERS = [
    ("Adam", {"lr": 1e-3}),
    ("Adam", {"lr": 1e-3, "weight_decay": 0.01, "betas": (0.8, 0.99)}),
    ("SGD", {"lr": 0.01, "momentum": 0.9}),
    ("SGD", {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
]


@dtypes
@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
def test_three_steps_of_simplenet(name: str, options: dict[str, Any], dtype: str, batch: Any) -> None:
    ours, theirs = twins(simplenet, dtype)
    optimizer = getattr(optim, name)(ours.parameters(), **options)
    their_optimizer = getattr(torch.optim, name)(theirs.parameters(), **options)
    for _ in range(3):
        *_, loss, their_loss = both_losses(ours, theirs, batch, dtype)
        close(loss, their_loss)
        for one, opt in ((loss, optimizer), (their_loss, their_optimizer)):
            opt.zero_grad()
            one.backward()
            opt.step()
        for parameter, their_parameter in zip(ours.parameters(), theirs.parameters(), strict=True):
            expected = their_parameter.detach().numpy()
            error = np.linalg.norm(parameter.detach().numpy() - expected) / np.linalg.norm(expected)
            assert error <= TOLERANCE[dtype]


# ---- layers ----------------------------------------------------------------------------------------------------------

LAYERS: list[tuple[Any, tuple[int, ...]]] = [
    (lambda nn: nn.Linear(5, 3), (4, 5)),
    (lambda nn: nn.Linear(5, 3, bias=False), (2, 4, 5)),
    (lambda nn: nn.Linear(5, 3), (5,)),
    (lambda nn: nn.Conv2d(2, 4, 3), (2, 2, 6, 5)),
    (lambda nn: nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 2), (1, 2), 2, False), (2, 4, 7, 6)),
    (lambda nn: nn.MaxPool2d(3), (2, 3, 7, 8)),
    (lambda nn: nn.MaxPool2d((3, 2), 2, 1, 1, ceil_mode=True), (2, 3, 6, 8)),
    (lambda nn: nn.AvgPool2d(2), (2, 3, 7, 8)),
    (lambda nn: nn.AvgPool2d((3, 2), 2, 1, ceil_mode=True, count_include_pad=False), (2, 3, 6, 8)),
    (lambda nn: nn.BatchNorm1d(3), (6, 3)),
    (lambda nn: nn.BatchNorm2d(3), (4, 3, 2, 5)),
    (lambda nn: nn.BatchNorm2d(3, 1e-3, 0.3, False), (4, 3, 2, 5)),
    (lambda nn: nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()), (4, 3, 6, 5)),
    (lambda nn: nn.Sequential(nn.BatchNorm1d(3), nn.ReLU()), (4, 3)),
    (lambda nn: nn.ReLU(), (3, 4)),
    (lambda nn: nn.Tanh(), (3, 4)),
    (lambda nn: nn.Sigmoid(), (3, 4)),
    (lambda nn: nn.Flatten(), (2, 3, 4, 2)),
    (lambda nn: nn.Flatten(0), (2, 3, 4)),
    (lambda nn: nn.Dropout(0.0), (3, 4)),
    (lambda nn: nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3), nn.Tanh()), (3, 2, 6, 6)),
]


@dtypes
@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_layers(make: Any, shape: tuple[int, ...], mode: str, dtype: str) -> None:
    ours, theirs = twins(make, dtype)
    for seed in range(2):  # so that the running statistics of eval mode are not those of a new layer
        ours(mg.tensor(3 * numbers(*shape, seed=seed, dtype=dtype) + 1))
        theirs(torch.tensor(3 * numbers(*shape, seed=seed, dtype=dtype) + 1))
    getattr(ours, mode)(), getattr(theirs, mode)()
    agree(ours, theirs, numbers(*shape, seed=5, dtype=dtype))
    named = dict(theirs.named_parameters())
    assert [name for name, _ in ours.named_parameters()] == list(named)
    for name, parameter in ours.named_parameters():
        close(parameter.grad, named[name].grad)
    state = theirs.state_dict()
    assert list(ours.state_dict()) == list(state)
    for name, x in ours.state_dict().items():
        close(x, state[name]) if x.dtype == dtype else np.testing.assert_array_equal(x.numpy(), state[name].numpy())


def test_a_state_of_pytorch_loads() -> None:
    make = lambda nn: nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(32, 3))
    torch.manual_seed(0)
    ours, theirs = make(nn), make(torch.nn)
    x = numbers(4, 1, 6, 6, dtype="float32")
    theirs(torch.tensor(x))
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    close(ours.eval()(mg.tensor(x)), theirs.eval()(torch.tensor(x)))


# ---- convolution and pools, all options ------------------------------------------------------------------------------


def pair(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


conv_calls = st.fixed_dictionaries(
    {
        "batch": st.integers(1, 3),
        "groups": st.integers(1, 3),
        "depth": pair(1, 3),
        "kernel": pair(1, 4),
        "stride": pair(1, 3),
        "padding": pair(0, 3),
        "dilation": pair(1, 3),
        "room": pair(0, 4),
        "dtype": st.sampled_from(["float32", "float64"]),
    }
)


@given(conv_calls)
@often
def test_conv2d(call: dict[str, Any]) -> None:
    kernel, padding, dilation, groups = (call[name] for name in ("kernel", "padding", "dilation", "groups"))
    covered = [dilation[i] * (kernel[i] - 1) + 1 for i in range(2)]
    image = [max(1, covered[i] - 2 * padding[i]) + call["room"][i] for i in range(2)]
    channels, outputs = (groups * depth for depth in call["depth"])
    x = numbers(call["batch"], channels, *image, dtype=call["dtype"])
    weight = numbers(outputs, channels // groups, *kernel, seed=1, dtype=call["dtype"])
    options = {"stride": call["stride"], "padding": padding, "dilation": dilation, "groups": groups}
    agree(
        lambda x, w: mg.conv2d(x, w, **options),
        lambda x, w: functional.conv2d(x, w, **options),
        *(x, weight),
    )


@st.composite
def pool_calls(draw: Any, dilations: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Images with many ties, a NaN here and there, and the options of a pool."""
    kernel, dilation = draw(pair(1, 4)), draw(pair(1, dilations))
    padding = tuple(draw(st.integers(0, size // 2)) for size in kernel)
    covered = [dilation[i] * (kernel[i] - 1) + 1 for i in range(2)]
    image = [max(1, covered[i] - 2 * padding[i]) + draw(st.integers(0, 5)) for i in range(2)]
    random = np.random.default_rng(draw(st.integers(0, 999)))
    x = random.integers(-2, 3, (draw(st.integers(1, 2)), draw(st.integers(1, 2)), *image))
    x = x.astype(draw(st.sampled_from(["float32", "float64"])))
    if draw(st.booleans()):
        x[random.uniform(size=x.shape) < 0.2] = np.nan
    stride = draw(st.none() | pair(1, 4))
    options = {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": draw(st.booleans())}
    return x, options | ({"dilation": dilation} if dilations > 1 else {"count_include_pad": draw(st.booleans())})


@given(pool_calls(dilations=3))
@often
def test_max_pool2d(call: tuple[np.ndarray, dict[str, Any]]) -> None:
    x, options = call
    filled = functional.max_pool2d(torch.zeros(x.shape), **options)
    assume(torch.isfinite(filled).all())  # PyTorch says -inf for a window between the pixels
    agree(lambda x: mg.max_pool2d(x, **options), lambda x: functional.max_pool2d(x, **options), x)


@given(pool_calls(dilations=1))
@often
def test_avg_pool2d(call: tuple[np.ndarray, dict[str, Any]]) -> None:
    x, options = call
    agree(lambda x: mg.avg_pool2d(x, **options), lambda x: functional.avg_pool2d(x, **options), x)


# ---- losses ----------------------------------------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(6, 4), (2, 4, 3), (2, 4, 3, 2)])
def test_cross_entropy(shape: Any, weighted: bool, smoothing: float, reduction: Any, dtype: str) -> None:
    labels = np.random.default_rng(3).integers(0, 4, (shape[0], *shape[2:]))
    weight = np.array([0.5, 1.0, 2.0, 0.25], dtype)
    options: dict[str, Any] = {"label_smoothing": smoothing, "reduction": reduction}
    ours = nn.CrossEntropyLoss(weight if weighted else None, **options)
    theirs = torch.nn.CrossEntropyLoss(torch.tensor(weight) if weighted else None, **options)
    agree(
        lambda x: ours(x, mg.tensor(labels)),
        lambda x: theirs(x, torch.tensor(labels)),
        5 * numbers(*shape, dtype=dtype),
    )


@dtypes
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_other_losses(reduction: Any, dtype: str) -> None:
    x, y = numbers(3, 4, dtype=dtype), numbers(3, 4, seed=1, dtype=dtype)
    agree(nn.MSELoss(reduction=reduction), torch.nn.MSELoss(reduction=reduction), x, y)
    target = np.random.default_rng(2).uniform(size=(3, 4)).astype(dtype)
    ours, theirs = (library.BCEWithLogitsLoss(reduction=reduction) for library in (nn, torch.nn))
    agree(lambda x: ours(x, mg.tensor(target)), lambda x: theirs(x, torch.tensor(target)), 5 * x)


# ---- functions -------------------------------------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize(
    ("name", "options", "their_options"),
    [
        ("softmax", {"axis": 1}, {"dim": 1}),
        ("log_softmax", {"axis": 0}, {"dim": 0}),
        ("logsumexp", {"axis": (0, 1)}, {"dim": (0, 1)}),
        ("var", {"axis": 1, "correction": 1}, {"dim": 1}),
        ("std", {"axis": 0, "correction": 1, "keepdims": True}, {"dim": 0, "keepdim": True}),
        ("max", {}, {}),
        ("mean", {"axis": 1}, {"dim": 1}),
    ],
)
def test_functions(name: str, options: Any, their_options: Any, dtype: str) -> None:
    agree(
        lambda x: getattr(mg, name)(x, **options),
        lambda x: getattr(torch, name)(x, **their_options),
        4 * numbers(3, 5, dtype=dtype),
    )


# ---- activations -----------------------------------------------------------------------------------------------------

AT_EDGES = np.array([-np.inf, -30, -7, -1.0, -0.5, -0.0, 0.0, 0.5, 1, 3, 6, 7, 30, np.inf])
ACTIVATIONS = ["ReLU", "ReLU6", "Tanh", "Sigmoid", "Softplus", "SiLU", "GELU", "ELU", "LeakyReLU", "Hardtanh"]


@dtypes
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str, dtype: str) -> None:
    ours, theirs = getattr(nn, name)(), getattr(torch.nn, name)()
    edges = AT_EDGES[np.isfinite(AT_EDGES)] if name == "GELU" else AT_EDGES  # PyTorch's gelu(inf) is NaN in float32
    agree(ours, theirs, edges.astype(dtype))
    assert np.isnan(ours(mg.tensor([np.nan], dtype=dtype)).item())
    agree(ours, theirs, 4 * numbers(3, 5, dtype=dtype))


@dtypes
def test_activations_with_options(dtype: str) -> None:
    x = 4 * numbers(3, 5, dtype=dtype)
    for name, options in [
        *(("Softplus", {"beta": 2.0}), ("GELU", {"approximate": "tanh"}), ("ELU", {"alpha": 0.5})),
        *(("LeakyReLU", {"negative_slope": 0.2}), ("Hardtanh", {"min_val": -0.5, "max_val": 2.0})),
    ]:
        agree(getattr(nn, name)(**options), getattr(torch.nn, name)(**options), x)
    agree(mg.erf, torch.erf, x)
    agree(mg.erfc, torch.erfc, x)


@dtypes
@pytest.mark.parametrize("bounds", [(-1.0, 1.0), (None, 0.5), (2.0, -2.0)])
def test_clip(bounds: Any, dtype: str) -> None:
    agree(lambda x: mg.clip(x, *bounds), lambda x: torch.clamp(x, *bounds), AT_EDGES.astype(dtype))
    x, low = np.round(3 * numbers(4, 5)).astype(dtype), np.round(numbers(5, seed=1)).astype(dtype)
    agree(mg.clip, torch.clamp, x, low, low + np.array([[1.0], [2.0], [0.5], [3.0]], dtype))


# ---- reductions, running ops, norms ----------------------------------------------------------------------------------


def with_zeros(*shape: int, dtype: str) -> np.ndarray:
    """Numbers of which every line along the last axis has none, one or two zeros."""
    x = numbers(*shape, dtype=dtype)
    x.reshape(-1, shape[-1])[1::3, 2] = 0
    x.reshape(-1, shape[-1])[2::3, 1:5:2] = 0
    return x


@dtypes
def test_products_with_zeros(dtype: str) -> None:
    x = with_zeros(4, 3, 6, dtype=dtype)
    agree(lambda x: mg.prod(x, axis=-1), lambda x: torch.prod(x, dim=-1), x)
    agree(lambda x: mg.prod(x, axis=1, keepdims=True), lambda x: torch.prod(x, dim=1, keepdim=True), x)
    agree(mg.prod, torch.prod, numbers(7, dtype=dtype))
    agree(lambda x: mg.cumulative_prod(x, axis=-1), lambda x: torch.cumprod(x, -1), x)
    agree(lambda x: mg.cumulative_prod(x, axis=0), lambda x: torch.cumprod(x, 0), x)


@dtypes
def test_running_sums(dtype: str) -> None:
    x = numbers(4, 3, 6, dtype=dtype)
    for axis in (0, 1, -1):
        agree(lambda x, axis=axis: mg.cumulative_sum(x, axis=axis), lambda x, axis=axis: torch.cumsum(x, axis), x)
        agree(
            lambda x, axis=axis: mg.logcumsumexp(x, axis=axis),
            lambda x, axis=axis: torch.logcumsumexp(x, axis),
            9 * x,
        )
    masked = np.array([-np.inf, -np.inf, 1.0, -np.inf, 2.0], dtype)
    close(mg.logcumsumexp(mg.tensor(masked), axis=0), torch.logcumsumexp(torch.tensor(masked), 0))


@pytest.mark.parametrize("function", ["prod", "cumulative_prod"])
def test_third_derivatives_of_products_with_zeros(function: str) -> None:
    """Of a polynomial of degree 1 in each of 4 numbers, two of which are 0."""
    values = np.array([2.0, 0.0, 3.0, 0.0])
    names = {"prod": (mg.prod, torch.prod), "cumulative_prod": (mg.cumulative_prod, lambda x: torch.cumprod(x, 0))}
    x, t = mg.tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    y, z = (f(one) for f, one in zip(names[function], (x, t), strict=True))
    for order in range(3):
        weights = numbers(4, seed=order)
        total, their_total = (y * mg.tensor(weights)).sum(), (z * torch.tensor(weights)).sum()
        total.backward(create_graph=True)
        y, x.grad = x.grad, None
        (z,) = torch.autograd.grad(their_total, t, create_graph=True)
        close(y, z)


@dtypes
@pytest.mark.parametrize("order", [0.5, 1, 2, 2.5, 3, 4, -1, np.inf, -np.inf])
def test_vector_norm(order: float, dtype: str) -> None:
    x = numbers(4, 5, dtype=dtype)
    norm = torch.linalg.vector_norm
    agree(lambda x: mg.vector_norm(x, axis=1, ord=order), lambda x: norm(x, order, dim=1), x)
    agree(lambda x: mg.vector_norm(x, ord=order), lambda x: norm(x, order), x)


@dtypes
def test_vector_norm_at_zero(dtype: str) -> None:
    x = np.array([[0.0, 0.0, 0.0], [0.0, 3.0, 4.0]], dtype)
    for order in (1, 2, 3, 4):
        agree(
            lambda x, order=order: mg.vector_norm(x, axis=1, ord=order),
            lambda x, order=order: torch.linalg.vector_norm(x, order, dim=1),
            x,
        )
    close(mg.vector_norm(mg.tensor(x), ord=0), torch.linalg.vector_norm(torch.tensor(x), 0))


# ---- sorting ---------------------------------------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("axis", [0, -1])
def test_sorting_with_ties_and_nan(axis: int, descending: bool, dtype: str) -> None:
    x = np.round(3 * numbers(6, 7, dtype=dtype))
    agree(
        lambda x: mg.sort(x, axis=axis, descending=descending),
        lambda x: torch.sort(x, dim=axis, descending=descending, stable=True)[0],
        x,
    )
    x[x == 2] = np.nan
    values, places = torch.sort(torch.tensor(x), dim=axis, descending=descending, stable=True)
    np.testing.assert_array_equal(mg.sort(mg.tensor(x), axis=axis, descending=descending).numpy(), values)
    np.testing.assert_array_equal(mg.argsort(mg.tensor(x), axis=axis, descending=descending).numpy(), places)


@dtypes
@pytest.mark.parametrize("largest", [False, True])
def test_topk(largest: bool, dtype: str) -> None:
    x = numbers(5, 6, dtype=dtype)
    agree(
        lambda x: mg.topk(x, 3, axis=0, largest=largest), lambda x: torch.topk(x, 3, dim=0, largest=largest).values, x
    )
    places = torch.topk(torch.tensor(x), 4, largest=largest).indices
    np.testing.assert_array_equal(mg.argtopk(mg.tensor(x), 4, largest=largest).numpy(), places)


# ---- shapes ----------------------------------------------------------------------------------------------------------

PADS = ["ZeroPad2d", "ReflectionPad2d", "ReplicationPad2d", "CircularPad2d"]


@dtypes
@pytest.mark.parametrize("name", PADS)
@pytest.mark.parametrize("padding", [1, (2, 0, 1, 3), (0, 3, 0, 0)])
def test_pads(name: str, padding: Any, dtype: str) -> None:
    agree(getattr(nn, name)(padding), getattr(torch.nn, name)(padding), numbers(2, 3, 4, 5, dtype=dtype))


@dtypes
def test_pad_with_a_value(dtype: str) -> None:
    x = numbers(2, 3, 4, 5, dtype=dtype)
    agree(nn.ConstantPad2d((1, 2, 0, 3), -1.5), torch.nn.ConstantPad2d((1, 2, 0, 3), -1.5), x)


@dtypes
@pytest.mark.parametrize("options", [{}, {"mode": "bilinear"}, {"mode": "bilinear", "align_corners": True}])
@pytest.mark.parametrize("size", [(5, 9), (1, 1), (4, 6), (3, 2), (8, 12)])
def test_interpolate_to_a_size(size: Any, options: Any, dtype: str) -> None:
    x = numbers(2, 3, 4, 6, dtype=dtype)
    x[0, 0, 2, 3] = np.nan
    agree(nn.Upsample(size=size, **options), torch.nn.Upsample(size=size, **options), x)


@dtypes
@pytest.mark.parametrize("options", [{}, {"mode": "bilinear"}, {"mode": "bilinear", "align_corners": True}])
@pytest.mark.parametrize("factor", [2, 1.5, 0.7, (3.0, 0.5)])
def test_interpolate_by_a_factor(factor: Any, options: Any, dtype: str) -> None:
    x = numbers(2, 3, 4, 7, dtype=dtype)
    ours, theirs = (library.Upsample(scale_factor=factor, **options) for library in (nn, torch.nn))
    agree(ours, theirs, x)


EINSUMS = [
    *(("ij->ji", (3, 4)), ("ii->i", (3, 3)), ("ii", (3, 3)), ("ij,jk", (3, 4), (4, 2)), ("i,j->ij", (3,), (4,))),
    *(("bij,bkj->bik", (2, 3, 4), (2, 5, 4)), ("...ij,...jk->...ik", (2, 1, 3, 4), (5, 4, 2))),
    *(("ijk,jil->kl", (2, 3, 4), (3, 2, 5)), ("ij,jk,kl->il", (2, 3), (3, 4), (4, 5)), ("i,i,i->i", (3,), (3,), (3,))),
    *(
        ("bhqd,bhkd->bhqk", (2, 2, 3, 4), (2, 2, 5, 4)),
        ("nchw,oc->nohw", (2, 3, 4, 4), (5, 3)),
        ("ij,kl->j", (2, 3), (4, 5)),
    ),
]


@dtypes
@pytest.mark.parametrize("call", EINSUMS, ids=lambda call: call[0])
def test_einsum(call: Any, dtype: str) -> None:
    subscripts, *shapes = call
    arrays = [numbers(*shape, seed=i, dtype=dtype) for i, shape in enumerate(shapes)]
    agree(lambda *xs: mg.einsum(subscripts, *xs), lambda *ts: torch.einsum(subscripts, *ts), *arrays)


# ---- pools, norms and convolutions by other ops ----------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("p", [2, 4, 1.5])
def test_lp_pool2d(p: float, dtype: str) -> None:
    """PyTorch takes powers of x, not of its magnitude."""
    x = numbers(2, 3, 7, 9, dtype=dtype)
    x = x if p % 2 == 0 else np.abs(x)
    agree(nn.LPPool2d(p, 2), torch.nn.LPPool2d(p, 2), x)
    agree(nn.LPPool2d(p, (3, 2), 1), torch.nn.LPPool2d(p, (3, 2), 1), x)


@dtypes
def test_lp_pool2d_of_zeros(dtype: str) -> None:
    x = mg.zeros((1, 1, 2, 2), dtype=dtype, requires_grad=True)
    nn.LPPool2d(2, 2)(x).backward(mg.ones((1, 1, 1, 1), dtype=dtype))
    assert x.grad.tolist() == [[[[0.0, 0.0], [0.0, 0.0]]]]  # PyTorch's is NaN


@dtypes
@pytest.mark.parametrize("size", [1, 2, 3, (2, 3), (None, 4), (7, 10)])
def test_adaptive_pools(size: Any, dtype: str) -> None:
    x = np.round(2 * numbers(2, 3, 6, 8, dtype=dtype))
    agree(nn.AdaptiveAvgPool2d(size), torch.nn.AdaptiveAvgPool2d(size), x)
    agree(nn.AdaptiveMaxPool2d(size), torch.nn.AdaptiveMaxPool2d(size), x)


@dtypes
@pytest.mark.parametrize("features", [3, (4, 3)])
def test_layer_norm(features: Any, dtype: str) -> None:
    ours, theirs = twins(lambda nn: nn.LayerNorm(features), dtype)
    agree(ours, theirs, numbers(5, 4, 3, dtype=dtype))
    shape = features if isinstance(features, tuple) else (features,)
    agree(
        lambda *xs: mg.layer_norm(xs[0], shape, *xs[1:], eps=0.01),
        lambda *ts: functional.layer_norm(ts[0], shape, *ts[1:], eps=0.01),
        *(numbers(5, 4, 3, dtype=dtype), numbers(*shape, seed=1, dtype=dtype), numbers(*shape, seed=2, dtype=dtype)),
    )


@dtypes
@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"dilation": 2, "groups": 2}])
def test_conv1d(options: Any, dtype: str) -> None:
    ours, theirs = twins(lambda nn: nn.Conv1d(4, 6, 3, **options), dtype)
    agree(ours, theirs, numbers(2, 4, 11, dtype=dtype))
    agree(
        lambda x, w: mg.conv1d(x, w, **options),
        lambda x, w: functional.conv1d(x, w, **options),
        *(numbers(2, 4, 11, dtype=dtype), numbers(6, 4 // options.get("groups", 1), 3, dtype=dtype)),
    )


@dtypes
@pytest.mark.parametrize(
    "options",
    [
        *({}, {"stride": 2}, {"stride": (2, 3), "padding": (1, 2), "output_padding": (1, 2)}),
        *({"dilation": 2, "groups": 2}, {"stride": 3, "padding": 1, "output_padding": 1, "groups": 2, "bias": False}),
    ],
)
def test_conv_transpose2d(options: Any, dtype: str) -> None:
    ours, theirs = twins(lambda nn: nn.ConvTranspose2d(4, 6, 3, **options), dtype)
    x = numbers(2, 4, 5, 6, dtype=dtype)
    agree(ours, theirs, x)
    weight = numbers(4, 6 // options.get("groups", 1), 3, 3, dtype=dtype)
    options = {name: value for name, value in options.items() if name != "bias"}
    agree(
        lambda x, w: mg.conv_transpose2d(x, w, **options),
        lambda x, w: functional.conv_transpose2d(x, w, **options),
        *(x, weight),
    )


@dtypes
def test_unfold_and_fold(dtype: str) -> None:
    options = {"dilation": (1, 2), "padding": (1, 0), "stride": (2, 1)}
    agree(nn.Unfold((3, 2), **options), torch.nn.Unfold((3, 2), **options), numbers(2, 3, 6, 7, dtype=dtype))
    agree(nn.Fold((6, 7), (3, 2), **options), torch.nn.Fold((6, 7), (3, 2), **options), numbers(2, 18, 15, dtype=dtype))
