"""Modules, layers and losses: structure, state, defaults, statistics, errors, and derivatives in float64."""

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn
from minigrad.errors import ArgumentError, DtypeError, MinigradError, OperandError, ShapeError
from minigrad.nn import fusion
from minigrad.random import Generator
from minigrad.testing import check_grads, check_module


def some(*shape: int, seed: int = 0) -> mg.Tensor:
    """Normal float64 numbers."""
    return mg.tensor(np.random.default_rng(seed).normal(size=shape))


class Affine(nn.Module):
    def __init__(self, size: int = 2) -> None:
        self.scale = nn.Parameter(mg.ones(size))
        self.shift = nn.Parameter(mg.zeros(size))

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        return self.scale * x + self.shift


class Zoo(nn.Module):
    """Parts in every kind of place, two of them shared."""

    def __init__(self) -> None:
        self.first = Affine()
        self.blocks = [Affine(), (Affine(), nn.Dropout(0.5))]
        self.named = {"left": Affine(), "norm": nn.BatchNorm1d(2)}
        self.again = self.first
        self.tied = self.blocks[0].scale
        self.extra = nn.Parameter(mg.ones(3))
        self.grid = nn.Buffer(mg.arange(3))
        self.constant = mg.arange(4)
        self.flag, self.label, self.nothing = True, "zoo", None


# ---- the walk --------------------------------------------------------------------------------------------------------


def test_the_walk_follows_definition_order_and_visits_once() -> None:
    zoo = Zoo()
    assert [name for name, _ in zoo.named_parameters()] == [
        *("first.scale", "first.shift"),
        *("blocks.0.scale", "blocks.0.shift", "blocks.1.0.scale", "blocks.1.0.shift"),
        *("named.left.scale", "named.left.shift", "named.norm.weight", "named.norm.bias"),
        "extra",
    ]
    assert len({id(p) for p in zoo.parameters()}) == len(list(zoo.parameters()))
    modules = ["", "first", "blocks.0", "blocks.1.0", "blocks.1.1", "named.left", "named.norm"]
    assert [name for name, _ in zoo.named_modules()] == modules
    assert next(zoo.modules()) is zoo
    buffers = ["named.norm.running_mean", "named.norm.running_var", "named.norm.num_batches_tracked", "grid"]
    assert [name for name, _ in zoo.named_buffers()] == buffers
    assert all(isinstance(p, nn.Parameter) for p in zoo.parameters())


def test_a_module_asks_nothing_of_its_subclass() -> None:
    class Bare(nn.Module):
        def forward(self, x: float) -> float:
            return 2 * x

    bare = Bare()
    assert bare(3) == 6
    assert list(bare.parameters()) == []
    bare.late = nn.Parameter([1.0])
    assert [name for name, _ in bare.named_parameters()] == ["late"]
    del bare.late
    assert bare.state_dict() == {}
    with pytest.raises(OperandError, match="Module has no forward"):
        nn.Module()(1)


def test_modules_that_know_each_other_are_walked_once() -> None:
    first, second = Affine(), Affine()
    first.friend, second.friend = second, first
    assert len(list(first.parameters())) == 4
    assert [name for name, _ in second.named_modules()] == ["", "friend"]
    state = second.state_dict()
    assert list(state) == ["scale", "shift", "friend.scale", "friend.shift"]
    second.load_state_dict(state)


def test_train_and_eval_reach_every_module() -> None:
    zoo = Zoo()
    assert all(module.training for module in zoo.modules())
    assert zoo.eval() is zoo
    assert not any(module.training for module in zoo.modules())
    zoo.blocks[1][1].train()
    assert [name for name, module in zoo.named_modules() if module.training] == ["blocks.1.1"]
    zoo.train()
    assert all(module.training for module in zoo.modules())
    assert all(module.training for module in Zoo().modules()), "other instances are not affected"


def test_to_a_dtype() -> None:
    zoo = Zoo()
    (zoo.extra * 2.0).sum().backward()
    parts = dict(zoo.named_parameters())
    assert zoo.to("float64") is zoo
    assert {x.dtype for x in zoo.parameters()} == {mg.float64}
    assert [x.dtype for _, x in zoo.named_buffers()] == [mg.float64, mg.float64, mg.int64, mg.int64]
    assert all(dict(zoo.named_parameters())[name] is part for name, part in parts.items()), "the same objects"
    assert zoo.extra.grad is None
    assert zoo.extra.requires_grad
    assert zoo.to(mg.float32).extra.dtype == mg.float32
    assert zoo.to("cpu").extra.dtype == mg.float32
    with pytest.raises(DtypeError, match="not with int64"):
        zoo.to("int64")
    with pytest.raises(DtypeError, match="'float99' is not a dtype"):
        zoo.to("float99")


class Remembers(Affine):
    def forward(self, x: mg.Tensor) -> mg.Tensor:
        self.last = super().forward(x)
        return self.last


@pytest.mark.parametrize("recorded", [True, False])
def test_a_tensor_that_forward_left_is_no_part_of_the_module(recorded: bool) -> None:
    model = Remembers()
    with mg.enable_grad() if recorded else mg.no_grad():
        model(mg.ones(2))
    assert list(model.state_dict()) == ["scale", "shift"]
    assert list(model.named_buffers()) == []
    Remembers().load_state_dict(model.state_dict())
    assert model.to("float64").scale.dtype == model.shift.dtype == mg.float64
    check_module(Remembers(), some(3, 2))


def test_a_buffer() -> None:
    x = mg.tensor([[1.0], [2.0]], requires_grad=True)
    buffer = nn.Buffer(x * 2)
    assert not buffer.requires_grad
    assert type(copy.deepcopy(buffer)) is nn.Buffer
    assert repr(buffer) == "Buffer([[2.],\n        [4.]])"


# ---- state -----------------------------------------------------------------------------------------------------------


def test_the_state_names_every_tensor_by_every_path() -> None:
    zoo = Zoo()
    state = zoo.state_dict()
    assert set(state) > {"first.scale", "again.scale", "blocks.0.scale", "tied", "grid", "named.norm.running_var"}
    assert len(state) == 11 + 4 + 3  # what is walked, and again.scale, again.shift, tied
    assert not any(x.requires_grad or isinstance(x, nn.Parameter) for x in state.values())


@pytest.mark.parametrize("form", ["tensors", "ndarrays", "float64"])
def test_a_state_round_trip(form: str) -> None:
    source, target = Zoo(), Zoo()
    for i, part in enumerate(source.parameters()):
        part.assign(np.full(part.shape, i + 0.5))
    source.grid = nn.Buffer(mg.arange(3) + 7)
    convert = {"tensors": lambda x: x, "ndarrays": mg.Tensor.numpy, "float64": lambda x: x.to("float64").numpy()}[form]
    objects = list(target.parameters())
    target.load_state_dict({name: convert(x) for name, x in source.state_dict().items()})
    for name, x in source.state_dict().items():
        y = target.state_dict()[name]
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x.numpy(), y.numpy())
    assert all(old is new for old, new in zip(objects, target.parameters(), strict=True))
    assert target.tied is target.blocks[0].scale


def test_a_loaded_state_is_nobody_elses() -> None:
    arrays = {"scale": np.full(2, 3.0, "float32"), "shift": np.zeros(2, "float32")}
    source, target = Affine(), Affine()
    target.load_state_dict(arrays)
    arrays["scale"][:] = 9
    assert target.scale.tolist() == [3.0, 3.0]
    state = source.state_dict()
    source.scale.assign([5.0, 5.0])
    assert state["scale"].tolist() == [1.0, 1.0]


def test_a_state_that_does_not_fit_is_refused_as_a_whole() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    state = {name: x + 1 for name, x in model.state_dict().items()}
    before = {name: x.tolist() for name, x in model.state_dict().items()}
    del state["0.bias"], state["1.running_mean"]
    state |= {"0.weight": mg.ones((3, 3)), "1.weight": np.ones(()), "2.weight": mg.ones(1), "odd": np.ones((1, 2))}
    with pytest.raises(ArgumentError) as caught:
        model.load_state_dict(state)
    text = str(caught.value)
    for problem in (
        *("missing: 0.bias (3,)", "missing: 1.running_mean (3,)"),
        *("unexpected: 2.weight (1,)", "unexpected: odd (1, 2)"),
        *("mis-shaped: 0.weight has (3, 3), the model (3, 2)", "mis-shaped: 1.weight has (), the model (3,)"),
    ):
        assert problem in text
    assert {name: x.tolist() for name, x in model.state_dict().items()} == before


def test_a_loaded_model_computes_the_same() -> None:
    make = lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2))
    x, source, target = mg.asarray(some(5, 3), dtype="float32"), make(), make()
    source(x)
    target.load_state_dict(source.state_dict())
    assert source.eval()(x).tolist() == target.eval()(x).tolist()


def test_models_are_copied_and_pickled() -> None:
    zoo = Zoo().eval()
    for made in (copy.deepcopy(zoo), pickle.loads(pickle.dumps(zoo))):
        assert made.tied is made.blocks[0].scale
        assert made.again is made.first
        assert not made.training
        made.extra.assign([4.0, 4.0, 4.0])
        assert zoo.extra.tolist() == [1.0, 1.0, 1.0]


# ---- how modules read and fail ---------------------------------------------------------------------------------------


def test_repr_is_a_tree_with_totals() -> None:
    model = nn.Sequential(nn.Conv2d(1, 10, 5), nn.ReLU(), nn.Sequential(nn.Flatten(), nn.Linear(1000, 2, bias=False)))
    lines = repr(model).splitlines()
    assert lines[0].split() == ["Sequential()", "2,260", "parameters"]
    assert lines[1].startswith("  0: Conv2d(in_channels=1, out_channels=10, kernel_size=(5, 5), stride=(1, 1), ")
    assert lines[1].split()[-1] == "260"
    assert lines[2] == "  1: ReLU()"
    assert lines[3].split() == ["2:", "Sequential()", "2,000"]
    assert lines[4] == "    0: Flatten(start_dim=1, end_dim=-1)"
    assert lines[5].split() == ["1:", "Linear(in_features=1000,", "out_features=2)", "2,000"]
    assert len(lines) == 6


def test_repr_says_where_parts_in_containers_are() -> None:
    labels = [line.split(":")[0] for line in repr(Zoo()).splitlines()]
    assert labels[1:] == ["  first", "  blocks.0", "  blocks.1.0", "  blocks.1.1", "  named.left", "  named.norm"]
    assert repr(Zoo()).splitlines()[0].startswith("Zoo(flag=True, label='zoo') ")
    tied = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    vars(tied)["1"].weight = vars(tied)["0"].weight
    assert repr(tied).splitlines()[0].split()[1] == "4", "a shared parameter counts once"


def test_an_error_names_the_modules_path() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.ReLU(), nn.Linear(5, 2)))
    with pytest.raises(ShapeError, match="linear: i differs, 4 in x but 5 in weight") as caught:
        model(mg.ones((2, 3)))
    assert caught.value.__notes__ == ["in 1.1: Linear(in_features=5, out_features=2)"]
    with pytest.raises(ShapeError) as caught:
        nn.Linear(3, 4)(mg.ones((2, 2)))
    assert caught.value.__notes__ == ["in the model: Linear(in_features=3, out_features=4)"]


def test_an_error_in_a_chain_is_that_of_the_layer() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(5), nn.ReLU())
    with pytest.raises(ShapeError, match="conv2d: channels differ") as caught:
        model(mg.ones((1, 2, 9, 9)))
    assert caught.value.__notes__[0].startswith("in 0: Conv2d(")
    assert caught.value.__context__ is None
    with pytest.raises(MinigradError, match="max_pool2d") as caught:
        model(mg.ones((1, 3, 5, 5)))
    assert caught.value.__notes__[0].startswith("in 1: MaxPool2d(")


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_layer_with_a_forward_of_its_own_is_called(place: int) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.ReLU(), nn.BatchNorm2d(2), nn.ReLU())
    calls = []
    forward = model[place].forward
    model[place].forward = lambda x: (calls.append(x.shape), forward(x))[1]
    model(mg.ones((1, 1, 6, 6)))
    assert len(calls) == 1


def test_errors_of_others_pass_through_unchanged() -> None:
    class Broken(nn.Module):
        def forward(self) -> float:
            return 1 / 0

    with pytest.raises(ZeroDivisionError) as caught:
        Broken()()
    assert not hasattr(caught.value, "__notes__")


# ---- parameters, initialisation --------------------------------------------------------------------------------------


def test_a_parameter_is_a_leaf_of_its_own() -> None:
    array = np.ones(2)
    parameter = nn.Parameter(array)
    array[0] = 5
    assert parameter.tolist() == [1.0, 1.0]
    assert parameter.dtype == mg.float64
    assert parameter.requires_grad
    assert parameter.is_leaf
    assert type(parameter * 2) is mg.Tensor
    assert type(parameter.detach()) is mg.Tensor
    made = mg.ones(2, requires_grad=True) * 3
    assert nn.Parameter(made).is_leaf
    with pytest.raises(DtypeError, match="int64 cannot train"):
        nn.Parameter([1, 2])


def test_a_frozen_parameter_gets_no_gradient() -> None:
    model = Affine()
    model.scale.requires_grad = False
    model(mg.ones(2)).sum().backward()
    assert model.scale.grad is None
    assert model.shift.grad.tolist() == [1.0, 1.0]
    assert len(list(model.parameters())) == 2


@pytest.mark.parametrize(
    ("make", "fan_in", "shapes"),
    [
        (lambda g: nn.Linear(400, 50, generator=g), 400, [(50, 400), (50,)]),
        (lambda g: nn.Conv2d(8, 12, (3, 5), generator=g), 8 * 15, [(12, 8, 3, 5), (12,)]),
        (lambda g: nn.Conv2d(8, 400, 3, groups=4, generator=g), 2 * 9, [(400, 2, 3, 3), (400,)]),
    ],
)
def test_defaults_of_initialisation(make: Callable[[Any], nn.Module], fan_in: int, shapes: Any) -> None:
    layer = make(Generator(1))
    bound = 1 / math.sqrt(fan_in)
    assert [p.shape for p in layer.parameters()] == shapes
    for p in layer.parameters():
        assert p.dtype == mg.float32
        assert -bound <= p.min().item() < -0.7 * bound
        assert 0.7 * bound < p.max().item() <= bound
    weight = layer.weight.detach().numpy()
    assert abs(weight.mean()) < 5 * bound / math.sqrt(3 * weight.size)
    assert math.isclose(weight.std(), bound / math.sqrt(3), rel_tol=0.05)


def bits(module: nn.Module) -> list[bytes]:
    return [p.detach().numpy().tobytes() for p in module.parameters()]


@pytest.mark.parametrize("make", [lambda g: nn.Linear(3, 4, generator=g), lambda g: nn.Conv2d(2, 3, 3, generator=g)])
def test_the_same_seed_gives_the_same_bits(make: Callable[[Any], nn.Module]) -> None:
    assert bits(make(Generator(3))) == bits(make(Generator(3)))
    assert bits(make(Generator(3))) != bits(make(Generator(4)))
    mg.manual_seed(3)
    first, second = bits(make(None)), bits(make(None))
    assert first != second
    mg.manual_seed(3)
    assert [bits(make(None)), bits(make(None))] == [first, second]
    assert first == bits(make(Generator(3)))


# ---- layers ----------------------------------------------------------------------------------------------------------


def test_linear() -> None:
    layer, x = nn.Linear(3, 2), mg.asarray(some(4, 5, 3), dtype="float32")
    weight, bias = (p.detach().numpy() for p in layer.parameters())
    np.testing.assert_allclose(layer(x).detach().numpy(), x.numpy() @ weight.T + bias, rtol=1e-5, atol=1e-6)
    assert layer(x[0, 0]).shape == (2,)
    assert nn.Linear(3, 2, bias=False).bias is None
    assert nn.Linear(3, 2, bias=False)(mg.zeros(3)).tolist() == [0.0, 0.0]


def test_flatten() -> None:
    assert nn.Flatten()(mg.zeros((2, 3, 4))).shape == (2, 12)
    assert nn.Flatten()(mg.zeros((0, 3, 4))).shape == (0, 12)
    assert nn.Flatten(0)(mg.zeros((2, 3))).shape == (6,)
    assert nn.Flatten(-2)(mg.zeros((2, 3, 4))).shape == (2, 12)
    assert nn.Flatten(0, -2)(mg.zeros((2, 3, 4))).shape == (6, 4)
    with pytest.raises(ArgumentError, match="Flatten: no axis 1"):
        nn.Flatten()(mg.zeros(3))
    with pytest.raises(ArgumentError, match="Flatten: end_dim = 0 comes before start_dim = -1"):
        nn.Flatten(-1, 0)(mg.zeros((2, 3)))


def test_activations() -> None:
    x = mg.tensor([-2.0, 0.0, 3.0], dtype="float64")
    np.testing.assert_array_equal(nn.ReLU()(x).numpy(), [0, 0, 3])
    np.testing.assert_allclose(nn.Tanh()(x).numpy(), np.tanh([-2, 0, 3]), rtol=1e-15)
    np.testing.assert_allclose(nn.Sigmoid()(x).numpy(), 1 / (1 + np.exp([2, 0, -3])), rtol=1e-15)


def test_conv_and_pools_pass_their_options_on() -> None:
    x = some(2, 4, 9, 8)
    conv = nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2).to("float64")
    expected = mg.conv2d(x, conv.weight, stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2)
    np.testing.assert_array_equal(conv(x).detach().numpy(), (expected + conv.bias.reshape(-1, 1, 1)).detach().numpy())
    bare = nn.Conv2d(4, 6, 3, bias=False).to("float64")
    assert bare.bias is None
    np.testing.assert_array_equal(bare(x).detach().numpy(), mg.conv2d(x, bare.weight).detach().numpy())
    options: dict[str, Any] = {"stride": (1, 2), "padding": (1, 0), "ceil_mode": True}
    for layer, function, more in (
        (nn.MaxPool2d, mg.max_pool2d, {"dilation": (2, 1)}),
        (nn.AvgPool2d, mg.avg_pool2d, {"count_include_pad": False}),
    ):
        np.testing.assert_array_equal(
            layer((3, 2), **options, **more)(x).numpy(), function(x, (3, 2), **options, **more).numpy()
        )
        np.testing.assert_array_equal(layer(2)(x).numpy(), function(x, 2, stride=2).numpy())


def test_sequential() -> None:
    parts = [nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)]
    model, x = nn.Sequential(*parts), mg.ones((4, 2))
    assert list(model) == parts
    assert len(model) == 3
    assert model[0] is parts[0]
    assert model[-1] is parts[2]
    assert model(x).tolist() == parts[2](parts[1](parts[0](x))).tolist()
    part = model[1:]
    assert isinstance(part, nn.Sequential)
    assert list(part) == parts[1:]
    assert nn.Sequential()(x) is x
    for wrong in (mg.relu, [nn.ReLU()], None):
        with pytest.raises(OperandError, match="is not a module"):
            nn.Sequential(nn.ReLU(), wrong)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nn.Linear(0, 3), "Linear: in_features = 0 is less than 1"),
        (lambda: nn.Linear(3, 2.5), "Linear: out_features = 2.5 is not an integer"),
        (lambda: nn.Conv2d(3, 4, 3, groups=2), "3 and 4 channels do not split into 2 groups"),
        (lambda: nn.Conv2d(3, 4, (3, 3, 3)), "neither an integer nor a pair"),
        (lambda: nn.Conv2d(3, 4, 0), "kernel_size = 0 is less than 1"),
        (lambda: nn.Conv2d(3, 4, 3, padding="same"), "padding = 'same' is not an integer"),
        (lambda: nn.MaxPool2d(2, stride=0), "stride = 0 is less than 1"),
        (lambda: nn.AvgPool2d(2, padding=-1), "padding = -1 is less than 0"),
        (lambda: nn.BatchNorm2d(0), "BatchNorm2d: num_features = 0 is less than 1"),
        (lambda: nn.Dropout(1.5), "Dropout: p = 1.5 is not a probability"),
        (lambda: nn.Dropout(float("nan")), "Dropout: p = nan is not a probability"),
    ],
)
def test_bad_settings(make: Callable[[], nn.Module], text: str) -> None:
    with pytest.raises(ArgumentError, match=text.replace("(", r"\(")):
        make()


# ---- dropout ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dropout_drops_a_share_and_scales_the_rest(p: float, dtype: str) -> None:
    n = 40_000
    y = nn.Dropout(p, generator=Generator(0))(mg.ones(n, dtype=dtype))
    assert y.dtype == dtype
    values = np.unique(y.numpy())
    np.testing.assert_allclose(values, [0, 1 / (1 - p)], rtol=1e-6)
    dropped = (y.numpy() == 0).mean()
    assert abs(dropped - p) < 4 * math.sqrt(p * (1 - p) / n)


def test_dropout_draws_anew_and_can_be_repeated() -> None:
    x = mg.ones(100)
    layer = nn.Dropout(0.5, generator=Generator(5))
    first, second = layer(x).tolist(), layer(x).tolist()
    assert first != second
    layer.generator = Generator(5)
    assert [layer(x).tolist(), layer(x).tolist()] == [first, second]
    mg.manual_seed(5)
    assert nn.Dropout(0.5)(x).tolist() == first


def test_dropout_that_drops_nothing_or_all() -> None:
    x = mg.ones(5)
    assert nn.Dropout(0.5).eval()(x) is x
    assert nn.Dropout(0.0)(x) is x
    assert nn.Dropout(1.0)(x).tolist() == [0.0] * 5


def test_the_gradient_of_dropout_has_the_same_mask() -> None:
    x = mg.ones(50, requires_grad=True)
    y = nn.Dropout(0.3, generator=Generator(1))(x)
    y.sum().backward()
    assert x.grad.tolist() == y.tolist()


# ---- batch-norm ------------------------------------------------------------------------------------------------------

NORMS = [(nn.BatchNorm1d, (6, 3)), (nn.BatchNorm2d, (4, 3, 2, 5))]


def channels_last(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])


@pytest.mark.parametrize(("layer", "shape"), NORMS)
def test_batch_norm_normalises_by_the_batch(layer: Any, shape: tuple[int, ...]) -> None:
    norm, x = layer(3).to("float64"), 5 * some(*shape) + 2
    y = channels_last(norm(x).detach().numpy())
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=0), 1, rtol=1e-5)
    norm.weight.assign([1.0, 2.0, 3.0])
    norm.bias.assign([0.0, -1.0, 5.0])
    np.testing.assert_allclose(channels_last(norm(x).detach().numpy()), y * [1, 2, 3] + [0, -1, 5], atol=1e-12)


@pytest.mark.parametrize(("layer", "shape"), NORMS)
def test_batch_norm_remembers_for_eval(layer: Any, shape: tuple[int, ...]) -> None:
    norm = layer(3, momentum=0.25, eps=0.5).to("float64")
    mean, var = np.zeros(3), np.ones(3)
    for seed in range(3):
        x = 3 * some(*shape, seed=seed) + 1
        norm(x)
        values = channels_last(x.numpy())
        mean = 0.75 * mean + 0.25 * values.mean(axis=0)
        var = 0.75 * var + 0.25 * values.var(axis=0, ddof=1)
    np.testing.assert_allclose(norm.running_mean.numpy(), mean, rtol=1e-12)
    np.testing.assert_allclose(norm.running_var.numpy(), var, rtol=1e-12)
    assert norm.num_batches_tracked.item() == 3
    assert not norm.running_mean.requires_grad

    norm.eval()
    y = channels_last(norm(x).detach().numpy())
    np.testing.assert_allclose(y, (values - mean) / np.sqrt(var + 0.5), rtol=1e-12)
    assert norm(x[:1]).shape == (1, *shape[1:])
    assert norm.num_batches_tracked.item() == 3
    np.testing.assert_allclose(norm.running_mean.numpy(), mean, rtol=1e-12)


def test_batch_norm_without_momentum_remembers_the_mean_of_all_batches() -> None:
    norm, xs = nn.BatchNorm1d(3, momentum=None).to("float64"), [some(6, 3, seed=seed) for seed in range(4)]
    for x in xs:
        norm(x)
    np.testing.assert_allclose(norm.running_mean.numpy(), np.mean([x.numpy().mean(0) for x in xs], axis=0))
    np.testing.assert_allclose(norm.running_var.numpy(), np.mean([x.numpy().var(0, ddof=1) for x in xs], axis=0))


def test_batch_norm_without_affine() -> None:
    norm = nn.BatchNorm1d(2, affine=False)
    assert list(norm.parameters()) == []
    np.testing.assert_allclose(norm(mg.tensor([[1.0, 0.0], [3.0, 8.0]])).numpy(), [[-1, -1], [1, 1]], atol=1e-4)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize(("layer", "shape"), NORMS)
def test_batch_norm_and_relu_in_one_op_equal_the_two_layers(layer: Any, shape: tuple[int, ...], train: bool) -> None:
    model = nn.Sequential(layer(3), nn.ReLU()).to("float64").train(train)
    x, g = mg.tensor(some(*shape), requires_grad=True), some(*shape, seed=1)

    def results(forward: Callable[[mg.Tensor], mg.Tensor]) -> list[np.ndarray]:
        for leaf in (x, *model.parameters()):
            leaf.grad = None
        y = forward(x)
        y.backward(g)
        return [y.detach().numpy(), *(leaf.grad.numpy() for leaf in (x, *model.parameters()))]

    for found, expected in zip(results(model), results(lambda x: model[1](model[0](x))), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-14)


@pytest.mark.parametrize(
    ("make", "x", "text"),
    [
        (nn.BatchNorm1d, mg.ones((4, 3, 5)), "x has 3 axes, not the 2 of (n c)"),
        (nn.BatchNorm2d, mg.ones((4, 3)), "x has 2 axes, not the 4 of (n c h w)"),
        (nn.BatchNorm1d, mg.ones((4, 2)), "channels differ, c=2 in x but 3 here"),
        (nn.BatchNorm1d, mg.ones((1, 3)), "one value a channel has no variance"),
        (nn.BatchNorm2d, mg.ones((0, 3, 2, 2)), "one value a channel has no variance"),
    ],
)
def test_batch_norm_says_what_is_wrong(make: Any, x: mg.Tensor, text: str) -> None:
    with pytest.raises(ShapeError) as caught:
        make(3)(x)
    assert f"{make.__name__}: {text}" in str(caught.value)


# ---- losses ----------------------------------------------------------------------------------------------------------


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


@given(
    st.integers(1, 4),
    st.integers(1, 5),
    st.sampled_from([(), (3,), (2, 2)]),
    st.sampled_from([0.0, 0.1, 1.0]),
    st.booleans(),
    st.sampled_from([None, 0, 1, -100, 255]),
    st.sampled_from(["int64", "uint8", "int8", "int32"]),
    st.integers(0, 99),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_cross_entropy(
    n: int,
    c: int,
    more: tuple[int, ...],
    smoothing: float,
    weighted: bool,
    ignored: int | None,
    dtype: str,
    seed: int,
) -> None:
    random = np.random.default_rng(seed)
    logits, labels = random.normal(size=(n, c, *more)) * 3, random.integers(0, c, (n, *more))
    weight = random.uniform(0.5, 2, c) if weighted else np.ones(c)
    target = np.moveaxis(np.eye(c)[labels], -1, 1) * (1 - smoothing) + smoothing / c
    if ignored is not None and ignored == np.asarray(ignored, "int64").astype(dtype):
        left_out = random.random(labels.shape) < 0.3
        left_out.flat[0] = False
        labels = np.where(left_out, ignored, np.where(labels == ignored, (labels + 1) % c, labels))
        target = np.moveaxis(np.eye(c)[labels * (labels != ignored)], -1, 1) * (1 - smoothing) + smoothing / c
    else:
        ignored = None
    kept = labels != ignored
    if not kept.any():
        return  # of a single class
    losses = -(target * log_softmax(logits) * weight.reshape(-1, *[1] * len(more))).sum(axis=1)
    expected, share = np.where(kept, losses, 0), weight[labels * kept] * kept

    def loss(reduction: Any) -> np.ndarray:
        return nn.cross_entropy(
            mg.tensor(logits),
            mg.tensor(labels, dtype=dtype),
            weight=mg.tensor(weight) if weighted else None,
            ignore_index=ignored,
            label_smoothing=smoothing,
            reduction=reduction,
        ).numpy()

    np.testing.assert_allclose(loss("none"), expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(loss("sum"), expected.sum(), rtol=1e-10)
    np.testing.assert_allclose(loss("mean"), expected.sum() / share.sum(), rtol=1e-10)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("more", [(), (2, 3)])
def test_cross_entropy_with_probabilities(smoothing: float, weighted: bool, more: tuple[int, ...]) -> None:
    x, p = some(4, 3, *more), 0.25 + 0.5 * mg.softmax(some(4, 3, *more, seed=1), axis=1)  # not near 0 or 1
    weight = mg.tensor([0.5, 1.0, 2.0], dtype="float64") if weighted else None
    options: dict[str, Any] = {"weight": weight, "label_smoothing": smoothing}
    share = (np.ones(3) if weight is None else weight.numpy()).reshape(-1, *[1] * len(more))
    target = p.numpy() * (1 - smoothing) + smoothing / 3
    expected = -(target * log_softmax(x.numpy()) * share).sum(axis=1)
    np.testing.assert_allclose(nn.cross_entropy(x, p, reduction="none", **options).numpy(), expected, rtol=1e-10)
    np.testing.assert_allclose(nn.cross_entropy(x, p, **options).item(), expected.mean(), rtol=1e-10)
    check_grads(lambda x, p: nn.cross_entropy(x, p, **options), x, p, elements=4)


def test_certain_probabilities_are_labels() -> None:
    x, labels = some(4, 3), mg.tensor([0, 2, 2, 1])
    certain = mg.one_hot(labels, 3, dtype="float64")
    for smoothing in (0.0, 0.3):
        one, two = (nn.cross_entropy(x, y, label_smoothing=smoothing).item() for y in (labels, certain))
        assert one == pytest.approx(two, rel=1e-12)


def test_ignored_labels_leave_their_logits_alone() -> None:
    x = mg.tensor(some(3, 4).numpy(), requires_grad=True)
    nn.cross_entropy(x, mg.tensor([1, -1, 3]), ignore_index=-1, label_smoothing=0.1).backward()
    assert x.grad[1].tolist() == [0.0] * 4
    assert (x.grad[[0, 2]] != 0).all()


@pytest.mark.parametrize("shape", [(), (4,), (3, 1), (3, 4)])
def test_pos_weight(shape: tuple[int, ...]) -> None:
    x, target = some(3, 4), mg.sigmoid(some(3, 4, seed=1))
    weight = mg.exp(some(*shape, seed=2))
    p, y = 1 / (1 + np.exp(-x.numpy())), target.numpy()
    expected = -(weight.numpy() * y * np.log(p) + (1 - y) * np.log(1 - p))
    losses = nn.BCEWithLogitsLoss(pos_weight=weight, reduction="none")(x, target)
    np.testing.assert_allclose(losses.numpy(), expected, rtol=1e-12)
    check_grads(lambda x, w: nn.binary_cross_entropy_with_logits(x, target, pos_weight=w), x, weight, elements=4)


def test_cross_entropy_does_not_overflow() -> None:
    losses = nn.cross_entropy(mg.tensor([[1e4, 0.0], [-1e4, 0.0]]), mg.tensor([1, 0]), reduction="none")
    assert losses.tolist() == [1e4, 1e4]
    assert nn.cross_entropy(mg.tensor([[0.0] * 300]), mg.tensor([255], dtype="uint8")).item() == pytest.approx(
        math.log(300)
    )


def test_other_losses() -> None:
    x, y, target = some(3, 4), some(3, 4, seed=1), mg.tensor(np.random.default_rng(2).uniform(size=(3, 4)))
    squared = (x.numpy() - y.numpy()) ** 2
    p = 1 / (1 + np.exp(-x.numpy()))
    entropy = -(target.numpy() * np.log(p) + (1 - target.numpy()) * np.log(1 - p))
    for function, second, expected in (
        (nn.mse_loss, y, squared),
        (nn.binary_cross_entropy_with_logits, target, entropy),
    ):
        np.testing.assert_allclose(function(x, second, reduction="none").numpy(), expected, rtol=1e-12)
        np.testing.assert_allclose(function(x, second, reduction="sum").item(), expected.sum(), rtol=1e-12)
        np.testing.assert_allclose(function(x, second).item(), expected.mean(), rtol=1e-12)
    extreme = nn.binary_cross_entropy_with_logits(
        mg.tensor([1e4, -1e4, 1e4, -1e4]), mg.tensor([1, 0, 0, 1]), reduction="none"
    )
    assert extreme.tolist() == [0.0, 0.0, 1e4, 1e4]


def test_loss_modules_are_the_functions() -> None:
    x, labels = some(3, 4), mg.tensor([0, 3, 1])
    options: dict[str, Any] = {"weight": [1.0, 2.0, 0.5, 1.0], "label_smoothing": 0.1, "reduction": "none"}
    expected = nn.cross_entropy(x, labels, **(options | {"weight": mg.tensor(options["weight"])}))
    assert nn.CrossEntropyLoss(**options)(x, labels).tolist() == expected.tolist()
    assert [name for name, _ in nn.CrossEntropyLoss(**options).named_buffers()] == ["weight"]
    assert list(nn.CrossEntropyLoss(**options).parameters()) == []
    target = mg.sigmoid(some(3, 4, seed=1))
    for module, function in (
        (nn.MSELoss, nn.mse_loss),
        (nn.BCEWithLogitsLoss, nn.binary_cross_entropy_with_logits),
    ):
        for reduction in ("mean", "sum", "none"):
            assert module(reduction=reduction)(x, target).tolist() == function(x, target, reduction=reduction).tolist()


def logits(*shape: int) -> mg.Tensor:
    return mg.zeros(shape or (2, 3))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: nn.cross_entropy(logits(), mg.tensor([0, 3])), ArgumentError, "label 3 is not one of the c=3 classes"),
        (lambda: nn.cross_entropy(logits(), mg.tensor([-1, 0])), ArgumentError, "label -1 is not one of"),
        (lambda: nn.cross_entropy(logits(), mg.tensor([255, 0], dtype="uint8")), ArgumentError, "label 255 is not"),
        (
            lambda: nn.cross_entropy(logits(), mg.full(2, 2**64 - 1, dtype="uint64")),
            ArgumentError,
            "label 18446744073709551615",
        ),
        (lambda: nn.cross_entropy(logits(), mg.tensor([0.0, 1.0])), DtypeError, "labels of dtype float32"),
        (lambda: nn.cross_entropy(logits(), mg.tensor([0.0, math.nan])), DtypeError, "that none is NaN"),
        (lambda: nn.cross_entropy(logits(), mg.tensor([True, False])), DtypeError, "labels of dtype bool"),
        (lambda: nn.cross_entropy(logits(), mg.tensor([[0], [1]])), ShapeError, "the logits' shape without c"),
        (lambda: nn.cross_entropy(logits(3), mg.tensor(0)), ShapeError, "the logits' shape without c"),
        (lambda: nn.cross_entropy(logits(0, 3), mg.zeros(0, dtype="int64")), ShapeError, "the batch is empty"),
        (lambda: nn.cross_entropy(logits(), mg.tensor([0, 1]), weight=mg.ones(2)), ShapeError, "has not shape (3,)"),
        (lambda: nn.cross_entropy(logits(), [0, 1]), OperandError, "labels is a list"),
        (lambda: nn.cross_entropy(logits(), mg.tensor([0, 1]), weight=[1.0] * 3), OperandError, "weight is a list"),
        (lambda: nn.cross_entropy(logits(), mg.tensor([0, 1]), label_smoothing=1.1), ArgumentError, "is not in [0, 1]"),
        (lambda: nn.cross_entropy(logits(), mg.tensor([0, 1]), reduction="avg"), ArgumentError, "reduction = 'avg'"),
        (lambda: nn.cross_entropy(logits(), mg.tensor([3, 9]), ignore_index=9), ArgumentError, "label 3 is not one of"),
        (lambda: nn.cross_entropy(logits(), mg.tensor([9, 9]), ignore_index=9), ArgumentError, "there is no mean"),
        (lambda: nn.cross_entropy(logits(), 2 * mg.ones((2, 3))), ArgumentError, "probability 2.0 is not in [0, 1]"),
        (lambda: nn.cross_entropy(logits(), logits(), ignore_index=0), ArgumentError, "ignore_index is for integer"),
        (lambda: nn.cross_entropy(logits(0, 3), logits(0, 3)), ShapeError, "the batch is empty"),
        (lambda: nn.BCEWithLogitsLoss(pos_weight=[1.0] * 3)(mg.ones(2), mg.ones(2)), ShapeError, "does not broadcast"),
        (lambda: nn.mse_loss(mg.ones(3), mg.ones((3, 1))), ShapeError, "mse_loss: the shapes differ"),
        (lambda: nn.mse_loss(mg.ones(0), mg.ones(0)), ShapeError, "the batch is empty"),
        (lambda: nn.mse_loss(mg.ones(3), 3.0), OperandError, "target is a float"),
        (lambda: nn.mse_loss(mg.ones(3), mg.ones(3), reduction="max"), ArgumentError, "reduction = 'max'"),
        (lambda: nn.BCEWithLogitsLoss()(mg.ones(2), mg.tensor([0.5, 1.5])), ArgumentError, "target 1.5 is not in"),
        (lambda: nn.BCEWithLogitsLoss()(mg.ones(1), mg.tensor([math.nan])), ArgumentError, "target nan is not in"),
        (lambda: nn.BCEWithLogitsLoss()(mg.ones(2), mg.ones(1)), ShapeError, "the shapes differ"),
    ],
)
def test_losses_say_what_is_wrong(call: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)


# ---- derivatives -----------------------------------------------------------------------------------------------------


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "Linear": (lambda: nn.Linear(3, 2), (4, 3)),
    "Linear without bias": (lambda: nn.Linear(3, 2, bias=False), (2, 2, 3)),
    "Conv2d": (lambda: nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2), (2, 2, 5, 4)),
    "MaxPool2d": (lambda: nn.MaxPool2d(2, 1, 1), (1, 2, 4, 3)),
    "AvgPool2d": (lambda: nn.AvgPool2d(2, 1, 1, count_include_pad=False), (1, 2, 4, 3)),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(3), (5, 3)),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(2), (3, 2, 2, 2)),
    "BatchNorm2d without affine": (lambda: nn.BatchNorm2d(2, affine=False), (3, 2, 2, 2)),
    "ReLU": (nn.ReLU, (3, 4)),
    "Tanh": (nn.Tanh, (3, 4)),
    "Sigmoid": (nn.Sigmoid, (3, 4)),
    "Flatten": (nn.Flatten, (2, 3, 2)),
    "Sequential": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 2)),
        (3, 1, 3, 3),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_derivatives_of_layers(name: str) -> None:
    make, shape = LAYERS[name]
    check_module(make(), some(*shape))


def test_derivatives_of_dropout() -> None:
    check_module(nn.Dropout(0.4, generator=Generator(2)), some(4, 5))
    check_module(nn.Dropout(0.4), some(4, 5))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_derivatives_of_cross_entropy(reduction: Any, smoothing: float, weighted: bool) -> None:
    weight = mg.tensor([0.5, 1.0, 2.0], dtype="float64") if weighted else None
    loss = nn.CrossEntropyLoss(weight, label_smoothing=smoothing, reduction=reduction)
    check_grads(lambda x: loss(x, mg.tensor([[0, 2], [1, 1]])), some(2, 3, 2))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_derivatives_of_other_losses(reduction: Any) -> None:
    check_grads(lambda x, y: nn.mse_loss(x, y, reduction=reduction), some(2, 3), some(2, 3, seed=1))
    targets = mg.sigmoid(some(2, 3, seed=2))
    check_grads(lambda x: nn.binary_cross_entropy_with_logits(x, targets, reduction=reduction), 3 * some(2, 3))


CHAINS = {
    "pool": lambda: [nn.MaxPool2d(2)],
    "pool, relu": lambda: [nn.MaxPool2d((3, 2)), nn.ReLU()],
    "relu, pool": lambda: [nn.ReLU(), nn.MaxPool2d(3)],
    "batch-norm, relu": lambda: [nn.BatchNorm2d(6), nn.ReLU()],
    "overlapping pool": lambda: [nn.MaxPool2d(3, stride=2), nn.ReLU()],
}


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("odd", ["numbers", "ties", "NaN", "infinity"])
def test_a_chain_in_one_op_equals_its_layers(name, bias, odd):
    mg.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1, groups=2, bias=bias), *CHAINS[name](), nn.Flatten())
    values = np.random.default_rng(0).standard_normal((3, 2, 9, 8)).astype("float32")
    if odd == "ties":
        values = np.repeat(values[..., ::2], 2, axis=-1).round()
    elif odd != "numbers":
        values[1, 0, 4, 4] = np.nan if odd == "NaN" else np.inf

    def results(forward):
        x = mg.tensor(values, requires_grad=True)
        y = forward(x)
        for parameter in model.parameters():
            parameter.grad = None
        (y * mg.arange(y.size).reshape(y.shape)).sum().backward()
        return [y.detach().numpy(), x.grad.numpy(), *(p.grad.numpy() for p in model.parameters())]

    def one_by_one(x):
        for layer in model:
            x = layer(x)
        return x

    for found, expected in zip(results(model), results(one_by_one), strict=True):
        scale = np.abs(np.nan_to_num(expected, posinf=0, neginf=0)).max(initial=1)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * scale)


def test_chains_are_found_where_they_are():
    layers = [nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(4, 4, 3, stride=2), nn.MaxPool2d(2)]
    layers += [nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm1d(4), nn.ReLU(), nn.BatchNorm1d(4)]
    inputs = [mg.ones((2, layer.in_channels if isinstance(layer, nn.Conv2d) else 4, 6, 6)) for layer in layers[:7]]
    inputs += [mg.ones((2, 4)) for layer in layers[7:]]
    fused = [fusion.advance(layers[i:], x)[0] for i, x in enumerate(inputs)]
    assert fused == [3, 1, 1, 1, 1, 2, 1, 2, 1, 1]


def test_a_variance_that_is_not_positive_gives_ieee_numbers_without_a_warning() -> None:
    x, var = mg.ones((2, 2)), mg.tensor([-1.0, 0.0], requires_grad=True)
    mean = mg.zeros(2)
    mean.requires_grad = True
    mg.batch_norm(x, None, None, mean, var, eps=0.0).backward(x)
    assert mg.isnan(mean.grad).tolist() == [True, False]
    assert mean.grad.tolist()[1] == -np.inf
