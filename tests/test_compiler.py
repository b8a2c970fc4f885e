"""Compiled kernels on disk: found again, rebuilt when damaged or out of date, harmless where nothing can be written."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.kernels.cpu import cache, compiler


def run(script, **variables):
    return subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **variables}, capture_output=True, text=True
    )


def add_one(x):
    return x + 1


@pytest.fixture
def compile_again(tmp_path, monkeypatch):
    """A function that compiles `add_one` as a new process would; the cache in `tmp_path` is all that it shares."""
    monkeypatch.setenv("MINIGRAD_CACHE", str(tmp_path / "cache"))

    def compiled_again():
        compiled = compiler.compiled(add_one)
        assert compiled(1) == 2
        return sum(compiled.stats.cache_hits.values())

    return compiled_again


def files(folder):
    return sorted(folder.rglob("*.bin"))


def test_compiled_code_is_found_again(compile_again, tmp_path):
    assert (compile_again(), len(files(tmp_path))) == (0, 1)
    written = files(tmp_path)[0].stat()
    assert (compile_again(), len(files(tmp_path))) == (1, 1)
    assert files(tmp_path)[0].stat().st_mtime_ns == written.st_mtime_ns


def test_compiled_code_never_allocates(tmp_path):
    """numba refuses most of what allocates without its runtime; the rest would show by the names it is linked with."""
    allocates = b"NRT_"
    script = "import numba, numpy; numba.njit('f8[:](i8)', cache=True)(lambda n: numpy.empty(n))"
    path = tmp_path / "allocating.py"
    path.write_text(script)
    subprocess.run([sys.executable, path], env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}, check=True)
    assert any(allocates in one.read_bytes() for one in tmp_path.rglob("*.nbc")), "the search can find it"
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2))
    model(mg.ones((2, 1, 8, 8))).sum().backward()
    compiled = files(cache.cache_folder())
    assert compiled
    assert not [one.name for one in compiled if allocates in one.read_bytes()]


@pytest.mark.parametrize("damage", ["empty", "cut", "changed", "a folder"])
def test_a_damaged_file_is_compiled_again(compile_again, tmp_path, damage):
    compile_again()
    (path,) = files(tmp_path)
    content = path.read_bytes()
    if damage == "a folder":
        path.unlink()
        path.mkdir()
    else:
        middle = len(content) // 2
        changed = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        path.write_bytes({"empty": b"", "cut": content[:middle], "changed": changed}[damage])
    assert compile_again() == 0
    assert compile_again() == (0 if damage == "a folder" else 1)


def test_a_folder_for_reading_only_serves_and_is_left_alone(compile_again, tmp_path):
    compile_again()
    folder = files(tmp_path)[0].parent
    folder.chmod(0o555)
    try:
        assert compile_again() == 1
    finally:
        folder.chmod(0o755)
    assert [path.suffix for path in folder.iterdir()] == [".bin"]


def test_what_the_installation_brings_is_found(compile_again, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "INSTALLED", tmp_path / "cache")
    compile_again()
    for folder in tmp_path / "user", tmp_path / "cache" / "file":
        monkeypatch.setenv("MINIGRAD_CACHE", str(folder))
        assert compile_again() == 1
    assert len(files(tmp_path)) == 1


def test_without_a_place_to_write_nothing_is_cached(compile_again, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MINIGRAD_CACHE", str(tmp_path / "file" / "cache"))
    assert (compile_again(), compile_again()) == (0, 0)
    assert files(tmp_path) == []


def test_without_a_home_nothing_is_cached(compile_again, monkeypatch):
    def no_home():
        raise RuntimeError

    for name in ("MINIGRAD_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert cache.cache_folder() is None
    assert (compile_again(), compile_again()) == (0, 0)


def test_an_edit_of_any_kernel_source_changes_the_folder(tmp_path):
    names = set()
    paths = sorted([*cache.SOURCES.glob("*.py"), *cache.SOURCES.glob("cpu/**/*.py")])
    sources = [path.relative_to(cache.SOURCES) for path in paths]
    assert Path("geometry.py") in sources
    assert Path("cpu", "conv.py") in sources
    for i, edited in enumerate([None, *sources]):
        copy = tmp_path / str(i)
        shutil.copytree(cache.SOURCES, copy, ignore=shutil.ignore_patterns("__pycache__"))
        if edited:
            with (copy / edited).open("a") as source:
                source.write("\n")
        names.add(cache.digest(copy, "cpu"))
    assert len(names) == len(sources) + 1
    assert cache.digest(tmp_path / "0", "cpu") == cache.digest(cache.SOURCES, "cpu")
    assert cache.digest(cache.SOURCES, "cuda") not in names


def test_a_new_folder_lets_go_of_the_oldest(compile_again, tmp_path):
    for age in range(cache.KEPT + 2):
        folder = tmp_path / "cache" / f"{age:016x}"
        folder.mkdir(parents=True)
        code = f"some.kernel-{age:016x}"
        for name in f"{code}.bin", f"{code}.ptx", f"{code}.{age:032x}":
            (folder / name).write_bytes(b"code")
        os.utime(folder, (1e9 - age, 1e9 - age))
    mine = [tmp_path / "cache" / "pictures", tmp_path / "cache" / f"{cache.KEPT + 1:016x}"]
    for folder in mine:
        folder.mkdir(exist_ok=True)
        (folder / "notes.txt").write_text("of the user")
    os.utime(mine[1], (0, 0))
    compile_again()
    left = {path.name for path in (tmp_path / "cache").iterdir()} - {path.name for path in mine}
    assert left == {f"{age:016x}" for age in range(cache.KEPT - 1)} | {cache.cache_folder().name}
    assert [path.name for folder in mine for path in folder.iterdir()] == ["notes.txt"] * 2


SHARED = """
from minigrad.kernels.cpu import compiler
def add_one(x):
    return x + 1
compiled = compiler.compiled(add_one)
assert compiled(1) == 2
print(sum(compiled.stats.cache_hits.values()))
"""


def test_processes_share_a_cache(tmp_path):
    with ThreadPoolExecutor(2) as threads:
        for done in threads.map(lambda _: run(SHARED, MINIGRAD_CACHE=str(tmp_path)), range(2)):
            assert done.returncode == 0, done.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == files(tmp_path)
    assert run(SHARED, MINIGRAD_CACHE=str(tmp_path)).stdout == "1\n"


FACTORY = """
import sys
from minigrad.kernels.cpu import compiler

def scale(factor, dtype):
    @compiler.jit
    def scaled(x):
        return dtype(factor * x)
    return scaled

def make(factor, dtype):
    scaled = scale(factor, dtype)
    @compiler.compiled
    def kernel(x):
        return scaled(x) + 1
    return kernel

import numba
made = [make(int(factor), getattr(numba, dtype)) for factor, dtype in zip(sys.argv[1::2], sys.argv[2::2])]
print([kernel(2) for kernel in made], [sum(kernel.stats.cache_hits.values()) for kernel in made])
"""


def test_kernels_of_one_factory_have_a_file_each_that_other_processes_find(tmp_path):
    def process(*arguments):
        script = f"import sys; sys.argv[1:] = {list(arguments)}\n{FACTORY}"
        done = run(script, MINIGRAD_CACHE=str(tmp_path))
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    first, second, third = ("10", "int64"), ("20", "int64"), ("20", "float32")
    assert process(*first) == "[21] [0]"
    assert process(*second) == "[41] [0]"
    assert process(*third) == "[41.0] [0]"
    assert process(*third, *second, *first) == "[41.0, 41, 21] [1, 1, 1]"


def test_what_cannot_be_described_is_refused():
    thing = object()

    def kernel(x):
        return thing

    with pytest.raises(TypeError, match="takes <object object at"):
        cache.describe(kernel)


def test_a_description_covers_constants_helpers_and_recursion():
    table, width = np.arange(3), 4

    def helper(x):
        return helper(x) if x else width

    def kernel(x):
        return table[x] + helper(x)

    before = cache.describe(kernel)
    assert before == cache.describe(kernel)
    width = 8
    widened = cache.describe(kernel)
    table[0] = 7
    assert len({before, widened, cache.describe(kernel)}) == 3


def test_forced_cpu_features_share_no_machine_code(tmp_path):
    def hits(**variables):
        done = run(SHARED, MINIGRAD_CACHE=str(tmp_path), **variables)
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    generic, featureless = {"NUMBA_CPU_NAME": "generic"}, {"NUMBA_CPU_FEATURES": ""}
    assert [hits(), hits(**generic), hits(**featureless)] == [0, 0, 0]
    assert [hits(), hits(**generic), hits(**featureless)] == [1, 1, 1]
    assert len(files(tmp_path)) == 3


def test_settings_of_numba_share_no_machine_code(tmp_path):
    hits = [int(run(SHARED, MINIGRAD_CACHE=str(tmp_path), NUMBA_BOUNDSCHECK=checks).stdout) for checks in "0101"]
    assert hits == [0, 0, 1, 1]


def test_functions_of_one_name_share_no_machine_code(tmp_path):
    for number in 1, 2:
        done = run(
            SHARED.replace("x + 1", f"x + {number}").replace("== 2", f"== {1 + number}"), MINIGRAD_CACHE=str(tmp_path)
        )
        assert done.stdout == "0\n", done.stderr


def test_python_cannot_call_what_only_compiled_functions_call():
    add = compiler.jit(add_one)
    doubled = compiler.compiled(lambda x: add(x) + add(x))
    assert doubled(1) == 4
    with pytest.raises(TypeError, match="add_one is called by compiled functions only"):
        add(1)


def test_without_compiling_there_are_no_kernels():
    assert "which NUMBA_DISABLE_JIT forbids" in run(SHARED, NUMBA_DISABLE_JIT="1").stderr


SLOW = """
import time
from minigrad.kernels.cpu import compiler
@compiler.compiled
def first(x):
    x[0] = 1
@compiler.jit
def helper(x):
    return 2 * x
@compiler.compiled
def second(x):
    x[0] = helper(x[1])
import numpy as np
compiler.PATIENCE = {patience}
first(np.ones(2))
second(np.ones(2))
second(np.ones(2, "f4"))
"""


def test_long_compiling_is_explained_once(tmp_path):
    done = run(SLOW.format(patience=0), MINIGRAD_CACHE=str(tmp_path))
    (line,) = done.stderr.splitlines()
    assert line.startswith("minigrad compiles its kernels for this machine: once, they are kept in ")
    assert str(tmp_path) in line
    assert "python -m minigrad warmup" in line


def test_short_compiling_and_loading_are_not_explained(tmp_path):
    assert run(SLOW.format(patience=1000), MINIGRAD_CACHE=str(tmp_path)).stderr == ""
    assert run(SLOW.format(patience=0), MINIGRAD_CACHE=str(tmp_path)).stderr == ""


def test_a_cache_that_cannot_be_written_is_explained(tmp_path):
    (tmp_path / "file").touch()
    line = run(SLOW.format(patience=0), MINIGRAD_CACHE=str(tmp_path / "file")).stderr
    assert "in every process, since" in line
    assert "cannot be written" in line
