"""The pool of memory: aligned, reused, bounded, and never given to two arrays that live at the same time."""

import gc
import itertools
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import minigrad as mg
from minigrad.errors import ArgumentError, MinigradError, OutOfMemoryError
from minigrad.kernels.cpu import memory

MIB = 1 << 20


@pytest.fixture(autouse=True)
def clean():
    gc.collect()
    mg.release_memory()
    yield
    mg.limit_kept_memory(None)


def address(array):
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.dtype("float64"), bool])
@pytest.mark.parametrize("shape", [(1 << 15,), (33, 77, 101), (40_000, 1)])
def test_large_arrays_are_plain_and_aligned(shape, dtype):
    array = memory.empty(shape, dtype)
    assert type(array) is np.ndarray
    assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert address(array) % memory.ALIGNMENT == 0


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 5), (7,), (7000,)])
def test_small_arrays_come_from_numpy(shape):
    before = mg.memory_stats()
    array = memory.empty(shape, np.float32)
    assert (array.shape, array.base) == (shape, None)
    assert mg.memory_stats() == before


def test_zeros_are_zero_in_used_memory():
    memory.empty((MIB,), np.uint8).fill(7)
    array = memory.zeros((MIB,), np.uint8)
    assert mg.memory_stats().hits == 1
    assert not array.any()


def test_memory_is_used_again_when_the_last_view_is_dead():
    first = memory.empty((1000, 100), np.float32)
    place, view = address(first), first[5:].T
    del first
    other = memory.empty((1000, 100), np.float32)
    assert address(other) != place
    del view
    assert address(memory.empty((100, 1001), np.float32)) == place


def test_stats_count_bytes_and_arrays():
    assert mg.memory_stats() == mg.MemoryStats(mg.memory_stats().in_use, 0, mg.memory_stats().in_use, 0, 0)
    before = mg.memory_stats().in_use
    arrays = [memory.empty((MIB,), np.uint8) for _ in range(3)]
    del arrays[0]
    assert mg.memory_stats() == mg.MemoryStats(before + 2 * MIB, MIB, before + 3 * MIB, 0, 3)
    arrays.append(memory.empty((MIB,), np.uint8))
    assert mg.memory_stats() == mg.MemoryStats(before + 3 * MIB, 0, before + 3 * MIB, 1, 3)


def test_results_of_ops_are_counted():
    x = mg.ones((512, 1024))
    before = mg.memory_stats().in_use
    y = x * x
    assert mg.memory_stats().in_use - before == 2 * MIB
    del y
    assert mg.memory_stats().in_use == before


def test_all_memory_is_at_most_twice_what_was_in_use(monkeypatch):
    monkeypatch.setattr(memory, "MODEST", 0)
    held = memory.empty((MIB,), np.uint8)
    for size in range(1, 40):
        memory.empty((size * 100_000,), np.uint8)
        stats = mg.memory_stats()
        assert stats.in_use + stats.kept <= 2 * stats.peak
    assert len(held) == MIB


def test_sizes_that_nobody_asks_for_go_first():
    mg.limit_kept_memory(3 * MIB)
    old = [memory.empty((MIB,), np.uint8) for _ in range(3)]
    del old
    for _ in range(2):
        memory.empty((2 * MIB,), np.uint8)
    assert mg.memory_stats().kept == 3 * MIB
    assert mg.memory_stats().hits == 1


def test_the_limit_holds_from_the_call_on():
    arrays = [memory.empty((MIB,), np.uint8) for _ in range(4)]
    del arrays
    assert mg.memory_stats().kept == 4 * MIB
    mg.limit_kept_memory(2 * MIB)
    assert mg.memory_stats().kept == 2 * MIB
    mg.limit_kept_memory(0)
    memory.empty((MIB,), np.uint8)
    assert mg.memory_stats().kept == 0


@pytest.mark.parametrize("limit", [-1, 1.5, "1 GiB"])
def test_a_limit_is_a_number_of_bytes(limit):
    with pytest.raises(ArgumentError, match="nbytes must be None or an integer of at least 0, not"):
        mg.limit_kept_memory(limit)


def test_released_memory_is_gone():
    memory.empty((MIB,), np.uint8)
    mg.release_memory()
    stats = mg.memory_stats()
    assert (stats.kept, stats.hits, stats.misses, stats.peak) == (0, 0, 0, stats.in_use)


def test_views_and_copies_of_an_owner_give_nothing_back():
    array = memory.zeros((MIB,), np.uint8)
    before = mg.memory_stats()
    for derived in (lambda owner: owner[3:], np.copy, lambda owner: owner.view(type(owner)), np.asarray):
        derived(array.base)
        derived(array.base.copy())
    assert mg.memory_stats() == before
    memory.empty((MIB,), np.uint8).fill(1)
    assert not array.any()


def test_arrays_in_cycles_are_given_back():
    before = mg.memory_stats().in_use
    cycle = [memory.empty((MIB,), np.uint8)]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert mg.memory_stats().in_use == before


class Refusing:
    """`numpy.empty` on a machine with `room` bytes for new blocks, less what the pool keeps."""

    def __init__(self, monkeypatch, room):
        self.room, self.real = room, np.empty
        monkeypatch.setattr(np, "empty", self)

    def __call__(self, shape, dtype):
        if isinstance(shape, int) and self.room - memory.POOL.stats.kept < shape * np.dtype(dtype).itemsize:
            raise MemoryError
        return self.real(shape, dtype)


def test_the_pool_is_emptied_before_memory_is_out(monkeypatch):
    memory.empty((MIB,), np.uint8)
    Refusing(monkeypatch, 3 * MIB)
    memory.empty((5 * MIB // 2,), np.uint8)
    assert mg.memory_stats().misses == 2


def test_out_of_memory_names_the_pool(monkeypatch):
    held, x = memory.empty((MIB,), np.uint8), mg.ones((1000, 1000))
    Refusing(monkeypatch, 2 * MIB)
    with pytest.raises(OutOfMemoryError, match=r"(?s)shape \(1000, 1000\), float32.*in_use=\d+, kept=0") as caught:
        x + x
    assert isinstance(caught.value, MemoryError)
    assert isinstance(caught.value, MinigradError)
    monkeypatch.undo()
    assert (x + x).shape == (1000, 1000)
    assert len(held) == MIB


def test_threads_never_share_an_array():
    failures = []

    def work(mark):
        draw = np.random.default_rng(mark)
        held = []
        for step in range(1500):
            array = memory.empty((int(draw.integers(1, 4)) * 50_000,), np.uint8)
            stamp = (mark * 7 + step) % 251
            array[::4096] = stamp
            held.append((array, stamp))
            if len(held) > 5:
                old, expected = held.pop(int(draw.integers(6)))
                if not (old[::4096] == expected).all():
                    failures.append((mark, step))

    threads = [threading.Thread(target=work, args=(mark,)) for mark in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        before = mg.memory_stats().in_use
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert failures == []
    assert mg.memory_stats().in_use == before
    assert mg.memory_stats().hits + mg.memory_stats().misses == 4 * 1500


def test_a_large_array_costs_no_page_faults():
    resource = pytest.importorskip("resource")
    x = mg.ones((4, 1 << 20))
    for repeat in range(25):
        if repeat == 5:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        y = x + x
        del y
    faults = (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 20
    assert faults < 100, "a fresh array of 16 MiB costs 4096"


def test_the_interpreter_ends_quietly_with_arrays_alive():
    script = """
import numpy as np, minigrad as mg
from minigrad.kernels.cpu import memory
kept = [memory.empty((1 << 20,), np.uint8) for _ in range(3)]
kept.append(kept)
mg.alive = x = mg.ones((1000, 1000)).astype("float64")
class Late:
    array = memory.empty((1 << 20,), np.uint8)
    def __del__(self): self.array = None
np.late = Late()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""


class Arrays(RuleBasedStateMachine):
    """Arrays and views made, written and dropped in any order: those alive keep their contents."""

    def __init__(self):
        super().__init__()
        self.live = []
        self.number = 0

    @rule(size=st.sampled_from([30_000, 33_000, 40_000, 65_536, 70_000, 500_000]), cleared=st.booleans())
    def allocate(self, size, cleared):
        array = (memory.zeros if cleared else memory.empty)((size,), np.uint8)
        assert not (cleared and array.any())
        self.write(array)

    def write(self, array):
        self.number += 1
        array[...] = self.number % 256
        self.live.append((array, self.number % 256))

    @precondition(lambda self: self.live)
    @rule(data=st.data(), start=st.integers(0, 20_000), step=st.sampled_from([1, 7, -1]))
    def view_and_drop(self, data, start, step):
        array, value = self.live.pop(data.draw(st.integers(0, len(self.live) - 1)))
        self.live.append((array[start::step][:1000], value))

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def rewrite(self, data):
        array, _ = self.live.pop(data.draw(st.integers(0, len(self.live) - 1)))
        self.write(array)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def drop(self, data):
        self.live.pop(data.draw(st.integers(0, len(self.live) - 1)))

    @rule(limit=st.sampled_from([None, 0, 100_000, MIB]))
    def limit(self, limit):
        mg.limit_kept_memory(limit)

    @rule()
    def release(self):
        mg.release_memory()

    @invariant()
    def contents_are_as_written(self):
        for array, value in self.live:
            assert (array == value).all()

    @invariant()
    def nothing_overlaps(self):
        spans = sorted(np.lib.array_utils.byte_bounds(array) for array, _ in self.live if array.size)
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))

    def teardown(self):
        self.live.clear()
        mg.limit_kept_memory(None)


TestArrays = Arrays.TestCase
