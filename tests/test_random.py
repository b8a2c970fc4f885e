"""Random numbers: the words against published vectors, the streams, the distributions, and their repeatability."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import random
from minigrad.errors import ArgumentError, DtypeError
from minigrad.random import Generator

drawn = settings(max_examples=50, deadline=None, derandomize=True)

# Random123 1.14, tests/kat_vectors, "philox4x64 10": counter, key, result.
VECTORS = [
    (
        [0x0, 0x0, 0x0, 0x0],
        [0x0, 0x0],
        [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B],
    ),
    (
        [0xFFFFFFFFFFFFFFFF] * 4,
        [0xFFFFFFFFFFFFFFFF] * 2,
        [0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0],
    ),
    (
        [0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89],
        [0x452821E638D01377, 0xBE5466CF34E90C6C],
        [0xA528F45403E61D95, 0x38C72DBD566E9788, 0xA5A1610E72FD18B5, 0x57BD43B5E52B7FE6],
    ),
]


def philox(block: int, key: Any) -> list[int]:
    """Philox 4x64-10 of a 256-bit counter, after section 3.3 of Salmon et al. (2011), in python integers."""
    full = 2**64
    words, keys = [block // full**i % full for i in range(4)], [int(part) for part in key]
    for _ in range(10):
        high0, low0 = divmod(words[0] * 0xD2E7470EE14C6C93, full)
        high1, low1 = divmod(words[2] * 0xCA5A826395121157, full)
        words = [high1 ^ words[1] ^ keys[0], low1, high0 ^ words[3] ^ keys[1], low0]
        keys = [(keys[0] + 0x9E3779B97F4A7C15) % full, (keys[1] + 0xBB67AE8584CAA73B) % full]
    return words


def number(words: list[int]) -> int:
    return sum(word * 2 ** (64 * i) for i, word in enumerate(words))


# ---- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("counter", "key", "result"), VECTORS)
def test_the_words_are_those_of_random123(
    monkeypatch: pytest.MonkeyPatch, counter: list[int], key: list[int], result: list[int]
) -> None:
    assert philox(number(counter), key) == result
    generator = Generator()
    monkeypatch.setattr(random, "_hashed", lambda _: np.array(key, np.uint64))
    generator.counter = (number(counter) - 1) % 2**256  # numpy's Philox counts up before each block
    assert generator.words(4).tolist() == result


@given(st.lists(st.integers(0, 2**80), max_size=3), st.integers(0, 2**70), st.integers(0, 13))
@drawn
def test_word_i_depends_on_the_key_and_i_only(key: list[int], counter: int, count: int) -> None:
    generator = Generator(*key)
    generator.counter = counter
    blocks = -(-count // 4)
    expected = [word for b in range(blocks) for word in philox(counter + 1 + b, random._hashed(generator.key))]
    words = generator.words(count)
    assert words.dtype == np.uint64
    assert words.tolist() == expected[:count]
    assert generator.counter == counter + blocks


def test_the_counter_moves_on_by_whole_blocks() -> None:
    generator = Generator(7)
    for draw, counter in (
        (lambda: generator.uniform(4), 1),
        (lambda: generator.uniform(()), 2),
        (lambda: generator.uniform((3, 3)), 5),
        (lambda: generator.normal(5), 7),  # words come in pairs: six
        (lambda: generator.integers(8, 0, 2), 9),
        (lambda: generator.permutation(1), 10),
        (lambda: generator.uniform((0, 3)), 10),
    ):
        draw()
        assert generator.counter == counter
    long, short = Generator(7), Generator(7)
    assert long.words(12).tolist() == [*short.words(8).tolist(), *short.words(4).tolist()]


@pytest.mark.parametrize(("dtype", "bits"), [("float32", 24), ("float64", 53)])
@pytest.mark.parametrize("count", [0, 1, 3, 4, 7, 50_003])
def test_uniforms_are_the_leading_bits_of_the_words(dtype: str, bits: int, count: int) -> None:
    words, first, second = (Generator(5, 6) for _ in range(3))
    for generator in words, first, second:
        generator.counter = 2**32 - 3
    expected = (words.words(count) >> np.uint64(64 - bits)).astype(dtype) * np.dtype(dtype).type(2.0**-bits)
    np.testing.assert_array_equal(first.uniform(count, dtype=dtype).numpy(), expected)
    mg.set_num_threads(1)
    try:
        np.testing.assert_array_equal(second.uniform(count, dtype=dtype).numpy(), expected)
    finally:
        mg.set_num_threads(None)


def test_a_stream_can_be_entered_anywhere() -> None:
    first, second = Generator(1, 2), Generator(1, 2)
    whole = first.uniform(4000).tolist()
    second.counter = 500
    assert second.uniform(2000).tolist() == whole[2000:]


# ---- streams ---------------------------------------------------------------------------------------------------------

KEYS = [
    *((), (0,), (0, 0), (1,), (0, 1), (1, 0), (12,), (1, 2), (2, 1), (3, 1)),
    *((2**32,), (2**32 - 1,), (2**64,), (2**64, 0)),
    *((1, 2 + 3 * 2**32), (1 + 2 * 2**32, 3)),  # the same 32-bit words, divided otherwise
]


def test_every_key_is_a_stream_of_its_own() -> None:
    words = [Generator(*key).words(2000).tolist() for key in KEYS]
    assert len(set(itertools.chain(*words))) == 2000 * len(KEYS)


@given(st.lists(st.lists(st.integers(0, 2**70), max_size=3).map(tuple), min_size=2, max_size=6, unique=True))
@drawn
def test_different_keys_give_different_words(keys: list[tuple[int, ...]]) -> None:
    assert len({tuple(Generator(*key).words(2).tolist()) for key in keys}) == len(keys)


def test_streams_are_uncorrelated() -> None:
    n = 10_000
    draws = np.stack([Generator(*key).normal(n, dtype="float64").numpy() for key in KEYS])
    correlation = np.corrcoef(draws) - np.eye(len(KEYS))
    assert np.abs(correlation).max() < 5 / math.sqrt(n)
    lagged = [np.corrcoef(x[:-lag], x[lag:])[0, 1] for x in draws for lag in (1, 2, 3, 4)]
    assert np.abs(lagged).max() < 5 / math.sqrt(n)


# ---- distributions ---------------------------------------------------------------------------------------------------

N = 100_000


def uniform_distance(values: np.ndarray) -> float:
    """Kolmogorov's distance between values and the uniform distribution over [0, 1), times sqrt(n)."""
    ordered = np.sort(values.astype("float64"))
    steps = np.arange(len(ordered) + 1) / len(ordered)
    return math.sqrt(len(ordered)) * max(np.max(steps[1:] - ordered), np.max(ordered - steps[:-1]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform(dtype: str) -> None:
    x = Generator(1).uniform((N // 4, 4), dtype=dtype)
    assert x.dtype == dtype
    assert x.shape == (N // 4, 4)
    values = x.numpy().ravel()
    assert uniform_distance(values) < 1.95  # exceeded once in a thousand keys
    assert (values * 2.0 ** (53 if dtype == "float64" else 24) % 1 == 0).all()
    assert values.min() >= 0
    assert values.max() < 1
    scaled = Generator(1).uniform(N, -3.0, 5.0, dtype=dtype).numpy()
    np.testing.assert_allclose(scaled, 8 * values - 3, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal(dtype: str) -> None:
    x = Generator(2).normal((N // 5, 5), dtype=dtype)
    assert x.dtype == dtype
    values = x.numpy().ravel().astype("float64")
    cumulative = np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in values])
    assert uniform_distance(cumulative) < 1.95
    for power, moment, deviation in ((1, 0, 1), (2, 1, math.sqrt(2)), (3, 0, math.sqrt(15)), (4, 3, math.sqrt(96))):
        assert abs((values**power).mean() - moment) < 4 * deviation / math.sqrt(N)
    assert 4 < np.abs(values).max() < 6
    assert abs(np.corrcoef(values[::2], values[1::2])[0, 1]) < 4 / math.sqrt(N / 2), "the two of a pair"
    assert abs(np.corrcoef(values[::2] ** 2, values[1::2] ** 2)[0, 1]) < 4 / math.sqrt(N / 2)
    scaled = Generator(2).normal(N, 5.0, 0.5, dtype=dtype).numpy()
    np.testing.assert_allclose(scaled, 0.5 * values + 5, rtol=1e-5)


def chi_squared(counts: np.ndarray) -> float:
    """How many standard deviations Pearson's statistic for equal shares is above its mean."""
    expected = counts.sum() / counts.size
    freedom = counts.size - 1
    return float((((counts - expected) ** 2 / expected).sum() - freedom) / math.sqrt(2 * freedom))


@pytest.mark.parametrize(("low", "high"), [(0, 2), (-3, 4), (10, 110)])
def test_integers(low: int, high: int) -> None:
    x = Generator(3).integers((N // 10, 10), low, high)
    assert x.dtype == mg.int64
    counts = np.bincount(x.numpy().ravel() - low, minlength=high - low)
    assert counts.size == high - low
    assert chi_squared(counts) < 4


@given(st.integers(0, 40), st.integers(0, 99))
@drawn
def test_a_permutation_is_one(n: int, seed: int) -> None:
    order = Generator(seed).permutation(n)
    assert order.dtype == mg.int64
    assert sorted(order.tolist()) == list(range(n))


def test_all_permutations_are_equally_likely() -> None:
    generator = Generator(4)
    found = [tuple(generator.permutation(4).tolist()) for _ in range(24 * 100)]
    counts = np.array([found.count(order) for order in itertools.permutations(range(4))])
    assert counts.sum() == 2400
    assert chi_squared(counts) < 4


class Stuck(Generator):
    """A generator whose words are all the same."""

    def __init__(self, word: int) -> None:
        super().__init__(0)
        self.word = word

    def words(self, count: int) -> np.ndarray:
        return np.full(count, self.word, np.uint64)

    def _fractions(self, shape: tuple[int, ...], dtype: np.dtype, device: str) -> mg.Tensor:
        bits = 53 if dtype == mg.float64 else 24
        return mg.tensor(np.full(shape, (self.word >> 64 - bits) * 2.0**-bits, dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (1.0, 2.0), (-0.1, 0.1), (1e6, 1e6 + 1), (-5.0, 0.0), (3.0, 3.0)]
)
def test_uniform_keeps_its_bounds_at_the_extremes(low: float, high: float, dtype: str) -> None:
    lowest, highest = (Stuck(word).uniform(2, low, high, dtype=dtype).numpy() for word in (0, 2**64 - 1))
    kind = np.dtype(dtype).type
    assert (lowest == kind(low)).all()
    assert (highest < kind(high)).all() or low == high
    assert (highest >= kind(low)).all()


def test_other_distributions_at_the_extremes() -> None:
    for word in (0, 2**64 - 1):
        for dtype in ("float32", "float64"):
            assert np.abs(Stuck(word).normal(4, dtype=dtype).numpy()).max() < 9
    for low, high in ((0, 1), (-7, 3), (0, 2**53), (-(2**63), 5 - 2**63), (2**63 - 5, 2**63)):
        assert Stuck(0).integers(1, low, high).item() == low
        assert Stuck(2**64 - 1).integers(1, low, high).item() == high - 1
    assert Stuck(5).permutation(4).tolist() == [0, 1, 2, 3]


# ---- repeatability ---------------------------------------------------------------------------------------------------


def test_the_numbers_of_a_key_never_change() -> None:
    assert Generator(0).words(2).tolist() == [7682348156314735828, 3805797813414321145]
    assert Generator(0, 1).words(1).tolist() == [5021638094637477172]
    assert (Generator(1).uniform(4) * 2**24).tolist() == [1899359, 16416514, 6956178, 3898312]
    assert Generator(1).integers(8, 0, 100).tolist() == [11, 97, 41, 23, 3, 29, 42, 76]
    assert Generator(1).permutation(6).tolist() == [4, 0, 3, 5, 2, 1]


def everything(generator: Generator) -> list[Any]:
    return [
        generator.uniform((2, 3)).tolist(),
        generator.normal(5).tolist(),
        generator.integers(5, 0, 9).tolist(),
        generator.permutation(5).tolist(),
    ]


def test_the_same_key_gives_the_same_bits() -> None:
    first = Generator(9, 9)
    sequence = [everything(first), everything(first)]
    again = Generator(9, 9)
    assert [everything(again), everything(again)] == sequence
    assert sequence[0] != sequence[1]


def test_manual_seed_restarts_the_default_stream() -> None:
    stream = random.default
    mg.manual_seed(5)
    sequence = [everything(random.default), everything(random.default)]
    assert sequence == [everything(g) for g in [Generator(5)] for _ in range(2)]
    mg.manual_seed(5)
    assert random.default is stream, "who holds the stream sees the new seed"
    assert everything(stream) == sequence[0]
    mg.manual_seed(6)
    assert everything(random.default) != sequence[0]


def test_generators_do_not_disturb_each_other() -> None:
    mg.manual_seed(5)
    expected = everything(random.default)
    mg.manual_seed(5)
    everything(Generator(5))
    assert everything(random.default) == expected


def test_draws_are_constants_of_the_graph() -> None:
    assert not Generator(0).normal(3).requires_grad
    with pytest.raises(ValueError, match="read-only"):
        Generator(0).uniform(3).numpy()[0] = 1


# ---- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda g: Generator(-1), ArgumentError, "a negative number in the key"),
        (lambda g: Generator("a"), ArgumentError, "key = 'a' is not an integer"),
        (lambda g: Generator(1.0), ArgumentError, "key = 1.0 is not an integer"),
        (lambda g: mg.manual_seed(-1), ArgumentError, "a negative number in the key"),
        (lambda g: g.words(-1), ArgumentError, "a negative number of words"),
        (lambda g: g.uniform(-1), ArgumentError, "uniform: a negative size"),
        (lambda g: g.uniform((2, 1.5)), ArgumentError, "uniform: shape = 1.5 is not an integer"),
        (lambda g: g.uniform(2, 1.0, 0.0), ArgumentError, "low = 1.0 is above high = 0.0"),
        (lambda g: g.uniform(2, 0.0, math.nan), ArgumentError, "is above high = nan"),
        (lambda g: g.uniform(2, -3e38, 3e38), ArgumentError, "beyond float32, or longer than its largest number"),
        (lambda g: g.uniform(2, -math.inf, math.inf), ArgumentError, "beyond float32"),
        (lambda g: g.uniform(2, 0.0, 1e39), ArgumentError, "beyond float32"),
        (lambda g: g.uniform(2, -1e308, 1e308, dtype="float64"), ArgumentError, "beyond float64"),
        (lambda g: g.uniform(2, 10**400, 10**401), ArgumentError, "beyond all floats"),
        (lambda g: g.uniform(2, "a"), ArgumentError, "low = 'a' is not a number"),
        (lambda g: g.normal(2, std=-1), ArgumentError, "or std is negative"),
        (lambda g: g.normal(2, math.nan), ArgumentError, "are not finite"),
        (lambda g: g.normal(2, std=math.inf), ArgumentError, "are not finite"),
        (lambda g: g.uniform(2, dtype="int64"), DtypeError, "uniform: dtype int64 is not a floating one"),
        (lambda g: g.normal(2, dtype="bool"), DtypeError, "normal: dtype bool is not a floating one"),
        (lambda g: g.integers(2, 3, 3), ArgumentError, r"no integer is in \[3, 3\)"),
        (lambda g: g.integers(2, 0.5, 2), ArgumentError, "low = 0.5 is not an integer"),
        (lambda g: g.integers(2, 0, 2**53 + 1), ArgumentError, "more than 2"),
        (lambda g: g.integers(2, 2**63, 2**63 + 5), ArgumentError, "beyond int64"),
        (lambda g: g.permutation(-1), ArgumentError, "a negative number of words"),
        (lambda g: g.permutation(2.5), ArgumentError, "n = 2.5 is not an integer"),
    ],
)
def test_bad_calls(call: Any, error: type[Exception], text: str) -> None:
    generator = Generator(0)
    with pytest.raises(error, match=text):
        call(generator)
    assert generator.counter == 0
