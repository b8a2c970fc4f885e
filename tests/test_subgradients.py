"""The tables of docs/subgradients.md: every row holds, and every op that is in none of them has no kink."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad.ops.kinds import REGISTRY, Bilinear, Discrete, Linear
from minigrad.testing.strategies import calls

PAGE = (Path(__file__).parents[1] / "docs" / "subgradients.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(.+?)` \| `(.+?)` \| `(.+?)` \|$", re.M)
ROWS, KINKS = ROW.findall(PAGE), ROW.findall(PAGE.partition("## Infinity and NaN")[0])
LARGE = 20_000  # elements: beyond the sizes from which kernels on all threads take over

SMOOTH = {
    *("add", "subtract", "multiply", "divide", "negative", "square", "exp", "expm1", "sin", "cos", "tanh", "sigmoid"),
    *("erf", "erfc", "logaddexp", "softplus", "silu", "gelu", "softmax", "log_softmax", "logsumexp", "logcumsumexp"),
    *("mean", "var", "prod", "cumulative_prod", "where", "expand_dims", "squeeze", "stack", "pad", "take", "einsum"),
    *("linear", "softmax_cross_entropy", "layer_norm", "subtractive_norm", "interpolate", "adaptive_avg_pool2d"),
    *("avg_pool_features", "conv1d", "conv_transpose2d", "locally_connected2d", "flip", "roll", "tril", "triu"),
}


def value(text: str, **names: Any) -> Any:
    """A cell of a table: an expression in the names of minigrad."""
    return eval(text, {**vars(mg), **names})


def test_the_tables_are_read() -> None:
    assert len(ROWS) == sum(line.startswith("| `") for line in PAGE.splitlines()) > 40


def test_every_op_is_in_a_table_or_smooth() -> None:
    """A linear op and a bilinear one have no kink."""
    named = {name for call, _, _ in KINKS for name in re.findall(r"\b([a-z]\w*)\(", call)} - {
        "reshape",
        "zeros",
        "ones",
    }
    curved = {name for name, record in REGISTRY.items() if not isinstance(record, (Linear, Bilinear, Discrete))}
    assert curved - named == SMOOTH, "a new op is either in docs/subgradients.md or in SMOOTH"
    assert named <= curved


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]} at {row[1]}")
def test_row(row: tuple[str, str, str], dtype: str) -> None:
    call, place, gradient = row
    at, expected = np.array(value(place), dtype), np.array(value(gradient), dtype)

    def function(x: mg.Tensor) -> mg.Tensor:
        return value(call, x=x)

    def check(at: np.ndarray, expected: np.ndarray) -> None:
        x = mg.tensor(at)
        y, pullback = mg.vjp(function, x)
        (found,) = pullback(mg.ones_like(y))
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
        if y.shape == x.shape:  # each element depends on its own
            np.testing.assert_allclose(mg.jvp(function, [x], [mg.ones_like(x)])[1].numpy(), expected, rtol=1e-6)
        else:
            assert y.size == 1
            tangents = [mg.jvp(function, [x], [mg.tensor(e)])[1].item() for e in np.eye(len(at), dtype=at.dtype)]
            np.testing.assert_allclose(tangents, expected, rtol=1e-6)
        if np.isfinite(expected).all():
            slope = lambda x: mg.vjp(function, x)[1](mg.ones_like(y))[0]
            (second,) = mg.vjp(slope, x)[1](mg.ones_like(x))
            assert not np.isnan(second.numpy()).any()

    check(at, expected)
    if call.endswith(("(x)", "(x, -1.0, 1.0)")) and function(mg.tensor(at)).shape == at.shape:
        check(np.tile(at, LARGE), np.tile(expected, LARGE))


@pytest.mark.parametrize("name", sorted(SMOOTH))
@given(data=st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_smooth_ops_have_no_kink(name: str, data: st.DataObject) -> None:
    """At whole numbers, with their zeros and ties, the slopes on both sides of every direction are the same."""
    record = REGISTRY[name]
    _, args, kwargs = data.draw(calls(record))

    def moved(step: float) -> np.ndarray:
        def move(value: Any) -> Any:
            if isinstance(value, list):
                return [move(one) for one in value]
            if not isinstance(value, np.ndarray):
                return value
            if value.dtype.kind != "f":
                return mg.asarray(value)
            return mg.asarray(np.round(value) + step * np.random.default_rng(value.size).normal(size=value.shape))

        with np.errstate(all="ignore"):
            return record(*map(move, args), **kwargs).numpy()

    before, at, after = moved(-1e-6), moved(0.0), moved(1e-6)
    finite = np.isfinite(before) & np.isfinite(at) & np.isfinite(after)
    left, right = ((at - before) / 1e-6)[finite], ((after - at) / 1e-6)[finite]
    np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-3)
