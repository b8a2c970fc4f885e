"""Threads: one number for the process, the same bits with any, several Python threads at once, forked and spawned."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

import minigrad as mg
from minigrad.errors import ArgumentError
from minigrad.kernels.cpu import threads

LAYERS = ["omp", "tbb", "workqueue"]


def run(*arguments, **variables):
    """The output of a Python process that has finished without a word on stderr, but for that it compiles."""
    done = subprocess.run(
        [sys.executable, *arguments], env={**os.environ, **variables}, capture_output=True, text=True, timeout=300
    )
    assert [line for line in done.stderr.splitlines() if not line.startswith("minigrad compiles")] == []
    assert done.returncode == 0
    return done.stdout


def skip_without(layer):
    try:
        __import__(f"numba.np.ufunc.{layer if layer == 'workqueue' else f'{layer}pool'}")
    except ImportError:
        pytest.skip(f"numba has no {layer} here")


@pytest.fixture(autouse=True)
def default_again():
    yield
    mg.set_num_threads(None)


def test_the_number_is_chosen_for_all_threads():
    assert 1 <= mg.get_num_threads() <= threads.limit()
    mg.set_num_threads(1)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(mg.get_num_threads).result() == 1
    mg.set_num_threads(threads.limit())
    assert mg.get_num_threads() == threads.limit()


@pytest.mark.parametrize("count", [0, -1, 1.0, "2", True, threads.limit() + 1])
def test_an_impossible_number_is_refused(count):
    before = mg.get_num_threads()
    with pytest.raises(ArgumentError, match=f"count must be an integer from 1 to {threads.limit()}, .*; not {count!r}"):
        mg.set_num_threads(count)
    assert mg.get_num_threads() == before


def test_the_environment_sets_the_default_and_the_most():
    script = "import minigrad as mg; print(mg.get_num_threads()); mg.set_num_threads(2); mg.set_num_threads(7)"
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "NUMBA_NUM_THREADS": "3"}, capture_output=True, text=True
    )
    assert done.stdout == "3\n"
    assert "from 1 to 3, " in done.stderr


def test_cores_that_are_shared_count_once(monkeypatch):
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "_processors", lambda: {0, 1, 2, 3, 6})
    monkeypatch.setattr(threads, "_siblings", lambda processor: f"{processor // 2 * 2}-{processor // 2 * 2 + 1}")
    assert threads.default.__wrapped__() == 3
    assert threads.limit() == 5


EVERYTHING = """
import hashlib
import numpy as np
import minigrad as mg
from minigrad import nn, optim

def train(seed, steps=2):
    \"\"\"Train a net of many kernels, and digest its parameters.\"\"\"
    draw = np.random.default_rng(seed)
    x = mg.tensor(draw.standard_normal((9, 2, 33, 35), dtype=np.float32))
    labels = mg.tensor(draw.integers(0, 5, 9))
    mg.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(), nn.BatchNorm2d(6),
        nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.Conv2d(6, 8, 3, stride=2, groups=2), nn.Conv2d(8, 64, 1),
        nn.MaxPool2d(3, 1, padding=1), nn.Conv2d(64, 64, 1), nn.Conv2d(64, 64, (3, 1), padding=(1, 0)),
        nn.AvgPool2d(3, 1, padding=1), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(768, 70), nn.Linear(70, 5),
    )
    for parameter in model.parameters():
        parameter.assign(mg.tensor(draw.standard_normal(parameter.shape).astype(np.float32) / 8))
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.CrossEntropyLoss()(model(x), labels).backward()
        optimizer.step()
    return hashlib.sha256(b"".join(bytes(p.detach().numpy()) for p in model.parameters())).hexdigest()
"""


CONVOLUTIONS = """
import hashlib
import numpy as np
import minigrad as mg

def digest():
    \"\"\"Digest convolutions of all kinds of plan, and their gradients.\"\"\"
    draw, found = np.random.default_rng(0), hashlib.sha256()
    for n, c, o, groups, window, size, stride, padding in [
        (16, 40, 4, 1, (2, 5), (15, 15), (1, 1), (1, 2)),  # vectors of images, in bands and passes
        (17, 3, 6, 2, (3, 3), (6, 6), (3, 2), (0, 0)),
        (33, 3, 4, 1, (2, 5), (40, 40), (2, 2), (0, 0)),
        (2, 16, 20, 1, (3, 3), (32, 32), (1, 1), (1, 1)),  # Winograd, both ways
        (48, 60, 20, 1, (3, 3), (20, 31), (1, 1), (0, 0)),
        (3, 20, 4, 1, (2, 5), (20, 20), (1, 1), (0, 0)),  # vectors of positions
        (1, 3, 32, 1, (3, 3), (64, 64), (1, 1), (1, 1)),
    ]:
        x = mg.tensor(draw.standard_normal((n, groups * c, *size), dtype=np.float32), requires_grad=True)
        weight = mg.tensor(draw.standard_normal((groups * o, c, *window), dtype=np.float32), requires_grad=True)
        bias = mg.zeros(groups * o)
        y = mg.conv2d(x, weight, stride=stride, padding=padding, groups=groups)
        pooled = mg.conv2d_pool(x, weight, bias, padding=padding, groups=groups, pool=2, relu=True)
        (mg.square(y).sum() + mg.square(pooled).sum()).backward()
        for array in y.detach(), pooled.detach(), x.grad, weight.grad:
            found.update(bytes(array.numpy()))
    return found.hexdigest()
"""


@pytest.mark.parametrize(("program", "call"), [(EVERYTHING, "train(0)"), (CONVOLUTIONS, "digest()")])
def test_any_number_of_threads_gives_the_same_bits(program, call):
    script = f"{program}\nfor count in 1, 2, 3, 4: mg.set_num_threads(count); print({call})"
    results = run("-c", script, NUMBA_NUM_THREADS="4").split()
    assert len(results) == 4
    assert len(set(results)) == 1


@pytest.mark.parametrize("layer", LAYERS)
def test_python_threads_train_at_the_same_time(layer):
    skip_without(layer)
    script = f"""{EVERYTHING}
from concurrent.futures import ThreadPoolExecutor
together = list(ThreadPoolExecutor(3).map(train, [0, 1, 2], [10] * 3))
print(together == [train(seed, 10) for seed in range(3)], len(set(together)))
"""
    assert run("-c", script, NUMBA_THREADING_LAYER=layer) == "True 3\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("layer", LAYERS)
def test_forked_processes_compute_alone(layer):
    skip_without(layer)
    script = f"""{EVERYTHING}
import multiprocessing, os, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads, in Python 3.12
expected = train(0)
child = os.fork()
if child == 0:
    os._exit(mg.get_num_threads() if train(0) == expected else 2)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(train, [0, 0, 0]) == [expected] * 3
assert train(0) == expected
"""
    run("-c", script, NUMBA_THREADING_LAYER=layer)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_process_forked_before_the_first_kernel_has_threads():
    script = """
import os, minigrad as mg
if (child := os.fork()) == 0:
    (mg.ones((50, 50)) @ mg.ones((50, 50))).sum()
    os._exit(mg.get_num_threads())
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == mg.get_num_threads()
"""
    run("-c", script)


def test_spawned_processes_have_threads(tmp_path):
    (tmp_path / "work.py").write_text(EVERYTHING)
    script = """
import multiprocessing
import minigrad as mg
import work
if __name__ == "__main__":
    expected = work.train(0)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(work.train, [0, 0]) == [expected] * 2
        assert pool.apply(mg.get_num_threads) == mg.get_num_threads()
"""
    (tmp_path / "main.py").write_text(script)
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    run(tmp_path / "main.py", PYTHONPATH=path)


@pytest.mark.parametrize("layer", LAYERS)
def test_threads_that_compile_at_the_same_time(layer, tmp_path):
    skip_without(layer)
    script = """
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.cpu.parallel import shared

@jit
def twice(x):
    return 2 * x

@shared
def double(thread, first, stop, y, x):
    for i in range(first, stop):
        y[i] = twice(x[i])

@shared
def triple(thread, first, stop, y, x):
    for i in range(first, stop):
        y[i] = twice(x[i]) + x[i]

def work(number):
    x = np.arange(100).astype(("f4", "f8")[number % 2])
    y, z = np.empty_like(x), np.empty_like(x)
    for first, second in ((double, triple), (triple, double))[number // 2 % 2],:
        first(len(x), 2, y, x)
        second(len(x), 2, z, x)
    return sorted([y.sum(), z.sum()]) == [9900, 14850]

print(all(ThreadPoolExecutor(8).map(work, range(8))))
"""
    assert run("-c", script, NUMBA_THREADING_LAYER=layer, MINIGRAD_CACHE=str(tmp_path)) == "True\n"


def test_what_threads_share_is_compiled_once_for_any_number(tmp_path):
    script = """
import numpy as np
import minigrad as mg
from minigrad.kernels.cpu.compiler import WATCH
from minigrad.kernels.cpu.parallel import shared

@shared
def count(thread, first, stop, calls, seen):
    calls[thread] += 1
    for i in range(first, stop):
        seen[i] += 1

def times(things, threads):
    calls, seen = np.zeros(threads, np.int64), np.zeros(things, np.int64)
    count(things, threads, calls, seen)
    return calls.tolist() == [1] * threads and seen.tolist() == [1] * things

assert times(5, 1)
before = WATCH.compiled
assert all(times(things, threads) for threads in (2, 3, 4) for things in (0, 1, 3, 1000))
print(WATCH.compiled - before)  # the loop that starts the threads
mg.set_num_threads(1)
assert times(7, 3)  # while another thread sets the number, a kernel may have been told to use more
"""
    assert run("-c", script, NUMBA_NUM_THREADS="4", MINIGRAD_CACHE=str(tmp_path)) == "1\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_process_forked_from_one_that_computed_alone_has_threads():
    script = f"""{EVERYTHING}
import os
mg.set_num_threads(1)
expected = train(0)
if (child := os.fork()) == 0:
    mg.set_num_threads(2)
    os._exit(0 if train(0) == expected and mg.get_num_threads() == 2 else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    run("-c", script, NUMBA_NUM_THREADS="2")


def test_an_exception_in_a_part_is_told():
    script = """
import numpy as np
from minigrad.kernels.cpu.parallel import shared

@shared
def choosy(thread, first, stop, seen):
    for i in range(first, stop):
        if i == 3:
            raise ValueError
        seen[i] = 1

for threads in 1, 2:
    choosy(3, threads, np.zeros(4))
    try:
        choosy(4, threads, np.zeros(4))
    except RuntimeError as error:
        print(error)
"""
    assert run("-c", script) == "choosy raised an exception, of which its threads keep no more\n" * 2


def test_two_copies_of_the_library_in_a_process():
    script = """
import sys
import numpy as np

def load():
    for name in [name for name in sys.modules if name.startswith("minigrad")]:
        del sys.modules[name]
    import minigrad as mg
    return mg

def pool(mg, dtype):
    return mg.max_pool2d(mg.ones((2, 64, 32, 32), dtype=dtype), 2).sum().item()

first = load()
assert pool(first, "float32") == 2 * 64 * 16 * 16
second = load()
assert second is not first
assert pool(second, "float32") == pool(first, "float64") == pool(second, "float64") == 2 * 64 * 16 * 16
"""
    run("-c", script, NUMBA_NUM_THREADS="2")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_process_forked_while_another_thread_compiles_can_compile(tmp_path):
    script = """
import os, threading, warnings
import minigrad as mg
from minigrad.kernels.cpu.compiler import compiled
warnings.simplefilter("ignore", DeprecationWarning)
mg.set_num_threads(1)
compiling = threading.Event()

@compiled
def many(x):
    return x + 1

def compile_something():
    for kind in (1, 1.0, 1j):
        compiling.set()
        many(kind)
        mg.relu(mg.ones(3)).sum()
        mg.batch_norm(mg.ones((2, 3, 4, 4)), mg.ones(3), mg.ones(3))

thread = threading.Thread(target=compile_something)
thread.start()
compiling.wait()
if (child := os.fork()) == 0:
    os._exit(mg.max_pool2d(mg.ones((1, 1, 4, 4)), 2).shape != (1, 1, 2, 2))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
thread.join()
"""
    run("-c", script, MINIGRAD_CACHE=str(tmp_path))
