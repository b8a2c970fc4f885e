"""Every kernel of the GPU, compiled without a GPU: `python -m tests.ptx`.

The op table's samples, with their gradients, run on a machine that notes which kernels it is asked for and runs none of
them. Each is compiled to PTX, and where NVIDIA's assembler is installed, to machine code. The table says what each
takes; it fails where a kernel does not compile, spills registers, computes float32 by way of float64, copies element by
element what it should copy by fours, stores less than it summed up or is launched by nothing, and where an op has none.

    pip install 'numba-cuda[cu13]>=0.30,<0.31' 'cuda-toolkit==13.0.*' 'nvidia-cuda-nvcc==13.0.*' hypothesis
"""

import argparse
import contextlib
import functools
import importlib
import inspect
import multiprocessing
import pkgutil
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn, optim
from minigrad.errors import MinigradError
from minigrad.kernels import cuda
from minigrad.kernels.cuda import elementwise, ptx
from minigrad.kernels.cuda import machine as machines
from minigrad.kernels.cuda.compiler import KERNELS, Kernel
from minigrad.ops.kinds import REGISTRY
from minigrad.testing.records import calls

ARCHITECTURES = {"sm_80": (8, 0), "sm_90": (9, 0)}

DOUBLE = {"sin": "arguments beyond 1e5 are reduced in float64", "cos": "as sin"}
"""What computes float32 by way of float64, in libdevice, and where."""


WIDE = "elementwise.in_step", "norm.normalise", "norm.image_slopes", "random.draw"
"""What reads and writes by fours."""

STORES = {
    *(80, 64, 32),  # 8 x 8 sums one by one and by fours, by tensor cores, or the largest of each four and which it is
    *(20, 24, 8),  # 4 x 4, and in float64, of which two are stored at once
}
"""How often a thread of a tile stores, in the text."""


class Note:
    """A machine that notes what it is asked to run. Its arrays keep what was uploaded, and else zeros."""

    name, threads, blocks, most_blocks, number, stream = "none", 256, 1056, 8448, 0, 1

    def allocate(self, nbytes: int) -> np.ndarray:
        return np.zeros(max(nbytes, 16), np.uint8)

    zeros = allocate

    def upload(self, array: np.ndarray) -> np.ndarray:
        return np.frombuffer(array.tobytes(), np.uint8)

    def download(self, *copies: tuple[np.ndarray, np.ndarray, int]) -> None:
        for array, buffer, offset in copies:
            array.reshape(-1).view(np.uint8)[:] = buffer[offset : offset + array.nbytes]

    def compile(self, kernel: Kernel, signature: tuple[Any, ...]) -> Kernel:
        return kernel

    def launch(self, *call: Any) -> None: ...

    def synchronize(self) -> None: ...


def take_note() -> None:
    """Let all modules have the machine that notes, those to come as well."""
    found, machine = machines.machine, Note()
    for module in list(sys.modules.values()):
        if getattr(module, "machine", None) is found:
            vars(module)["machine"] = lambda: machine


class Row(NamedTuple):
    """What came of a kernel, for an architecture; registers, spills and shared memory are the assembler's."""

    kernel: str
    kinds: str
    architecture: str
    registers: int
    stack: int
    spills: int
    shared: int
    wide: int
    problem: str


# ---- which kernels there are -----------------------------------------------------------------------------------------


def note_all(examples: int) -> list[str]:
    """Run all ops with their gradients, and what trains; returns what the device has no kernels for."""
    missing = set()
    for name in sorted(REGISTRY):
        for dtype in "float32", "float64":
            missing |= _note_op(name, dtype, examples)
    for work in _layers, _long_and_random, _layers_in_tf32, _optimizers:
        missing |= _lacking(work)
    for module in pkgutil.iter_modules(cuda.__path__):  # their kernels shall have been asked for by now
        if module.name != "simulator":
            importlib.import_module(f"{cuda.__name__}.{module.name}")
    return sorted(missing)


def _attempt(work: Any) -> set[str]:
    """What is missing for a sample of an op; what it computes is nonsense, and may be refused."""
    try:
        return _lacking(work)
    except (MinigradError, ValueError, IndexError, ZeroDivisionError) as error:
        REFUSED[f"{type(error).__name__}: {str(error).splitlines()[0]}"] += 1
    return set()


def _lacking(work: Any) -> set[str]:
    """What is missing for some work."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            work()
    except AttributeError as error:
        lacking = re.search("the GPU has no kernel '(.*)'", str(error))
        if lacking is None:
            raise
        return {lacking[1]}
    return set()


REFUSED: Counter[str] = Counter()
"""The calls that did not come to an end."""


def _note_op(name: str, dtype: str, examples: int) -> set[str]:
    record, missing = REGISTRY[name], set()

    @given(data=st.data())
    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def draw(data: st.DataObject) -> None:
        _, args, kwargs = data.draw(calls(record))
        missing.update(_attempt(lambda: _call(record, args, kwargs, dtype)))

    draw()
    return missing


def _call(record: Any, args: Any, kwargs: Any, dtype: str) -> None:
    """The op and its gradient."""

    def there(value: Any) -> Any:
        if isinstance(value, list) and all(isinstance(one, np.ndarray) for one in value):
            return [there(one) for one in value]
        if not isinstance(value, np.ndarray):
            return value
        x = mg.tensor(value.astype(dtype) if value.dtype.kind == "f" else value, device="cuda")
        x.requires_grad = value.dtype.kind == "f"
        return x

    result = record(*map(there, args), **kwargs)
    if result.requires_grad and result.device == "cuda":
        result.backward(mg.ones(result.shape, dtype=result.dtype, device="cuda"))


def _layers() -> None:
    """Sizes that ops' samples do not have: those of layers, for which other tiles are chosen."""
    ones = functools.partial(mg.ones, device="cuda", requires_grad=True)
    for n, c, o, side, window, groups in (
        *((256, 64, 64, 32, 3, 1), (256, 3, 64, 32, 3, 1), (64, 256, 512, 8, 1, 1)),
        *((32, 32, 32, 16, 3, 32), (32, 1, 10, 64, 5, 1)),
    ):
        for stride in 1, 2:
            y = mg.conv2d(
                ones((n, c, side, side)), ones((o, c // groups, window, window)), stride=stride, groups=groups
            )
            y.backward(mg.ones(y.shape, device="cuda"))
    for side, dtype in (32, "float32"), (8, "float32"), (32, "float64"):
        parts = (ones(shape, dtype=dtype) for shape in ((64, 64, side, side), (64, 64, 3, 3), (64,)))
        y = mg.conv2d_pool(*parts, pool=2, relu=True, padding=1)
        y.backward(mg.ones(y.shape, dtype=dtype, device="cuda"))
    long = ones((2, 8, 1, 40_000))  # for whose places 16 bits are too few
    y = mg.conv2d(long, ones((16, 8, 1, 3)), padding=(0, 1))
    y.backward(mg.ones(y.shape, device="cuda"))
    for m, k, n in (2048, 2048, 2048), (256, 512, 15), (32, 500, 100), (15, 100_000, 15):
        for dtype in "float32", "float64":
            x, y = ones((m, k), dtype=dtype), ones((k, n), dtype=dtype)
            z = x @ y
            z.backward(mg.ones(z.shape, dtype=dtype, device="cuda"))
            mg.linear(x, y.mT, ones((n,), dtype=dtype))


def _long_and_random() -> None:
    """What samples are too small for, and what draws random numbers."""
    for dtype in "float32", "float64":
        long = mg.ones((2, 100_000), dtype=dtype, device="cuda")
        for work in mg.cumulative_sum, mg.sort, mg.argmax, mg.argmin:
            work(long, axis=1)
            work(long.mT, axis=0)
        indices = mg.zeros(long.shape, dtype="int64", device="cuda")
        mg.scatter_along_axis(long, indices, axis=1, shape=(2, 3))
        x = mg.ones((100, 100), dtype=dtype, device="cuda")
        x.mT.reshape(-1)
        nn.Dropout()(x)
        x[mg.tensor([3, 1], device="cuda")] = 0.0


def _layers_in_tf32() -> None:
    mg.cuda.allow_tf32(True)
    try:
        _layers()
    finally:
        mg.cuda.allow_tf32(False)


def _optimizers() -> None:
    for make in (
        *(lambda p: optim.SGD(p, lr=1), lambda p: optim.SGD(p, lr=1, momentum=0.9, nesterov=True, weight_decay=1)),
        lambda p: optim.Adam(p, weight_decay=1),
    ):
        for dtype in "float32", "float64":
            model = nn.Linear(8, 4).to(dtype).to("cuda")
            optimizer = make(model.parameters())
            for _ in range(2):
                for parameter in model.parameters():
                    parameter.grad = mg.ones(parameter.shape, dtype=dtype, device="cuda")
                optimizer.step()


def label(kernel: Kernel) -> str:
    """The name of a kernel, with what its factory was given."""
    function = kernel.function
    names = [part for part in function.__qualname__.split(".") if part != "<locals>"]
    given = [_short(value) for value in inspect.getclosurevars(function).nonlocals.values()]
    options = ", ".join(text for text in given if text)
    return f"{function.__module__.rpartition('.')[2]}.{'.'.join(names)}" + (f"({options})" if options else "")


def _short(value: Any) -> str:
    for name, known in (elementwise.SAME | elementwise.TRUTHS).items():
        if value is known:
            return name
    if isinstance(value, FunctionType):
        if value.__name__ != "<lambda>":
            return "" if "<locals>" in value.__qualname__ else value.__name__
        return ", ".join(filter(None, map(_short, inspect.getclosurevars(value).nonlocals.values()))) or "lambda"
    return value.name if isinstance(value, np.dtype) else str(value) if isinstance(value, bool | str) else ""


def kinds(signature: tuple[Any, ...]) -> str:
    """The dtypes of a signature, in short."""
    dtypes = [kind[1] if isinstance(kind, tuple) else kind for kind in signature]
    return " ".join(dict.fromkeys(kind.name for kind in dtypes if isinstance(kind, np.dtype)))


# ---- what comes of them ----------------------------------------------------------------------------------------------


def compiled(job: tuple[int, int]) -> list[Row]:
    """Compile one signature of one kernel, for each architecture."""
    kernel = KERNELS[job[0]]
    return [_row(kernel, kernel.signatures[job[1]], architecture) for architecture in ARCHITECTURES]


def _row(kernel: Kernel, signature: tuple[Any, ...], architecture: str) -> Row:
    row, capability = Row(label(kernel), kinds(signature), architecture, 0, 0, 0, 0, 0, ""), ARCHITECTURES[architecture]
    try:
        ptx.key(kernel, signature, capability)  # what it is filed by on the disk
        _, text = ptx.compiled(kernel, signature, capability)
    except Exception as error:
        return row._replace(problem=f"does not compile: {type(error).__name__}: {str(error).strip()[-400:]}")
    row = row._replace(wide=len(re.findall(r"(?:ld|st)\S*\.global\S*\.v4", text)))
    row, assembler = row._replace(problem=_judge(row, text)), find_assembler()
    return row if assembler is None else _assembled(assembler, text, row)


def _judge(row: Row, text: str) -> str:
    floats = set(row.kinds.split()) & {"float32", "float64"}
    exempt = any(re.search(rf"\b{name}\b", row.kernel) for name in DOUBLE)
    if floats == {"float32"} and ".f64" in text and not exempt:
        return "float64 in float32"
    if row.kernel.startswith(WIDE) and floats == {"float32"} and not row.wide:
        return "no wide loads"
    if row.kernel.startswith("products.tiled") and len(re.findall(r"st\.global", text)) not in STORES:
        return "does not store its tile"
    return ""


def _assembled(assembler: str, text: str, row: Row) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(text, encoding="utf-8")
        done = subprocess.run(
            [assembler, "-v", f"-arch={row.architecture}", source, "-o", source.with_suffix(".cubin")],
            capture_output=True,
            text=True,
        )
    said = done.stderr + done.stdout
    if done.returncode:
        return row._replace(problem=f"does not assemble: {said.strip()[-400:]}")

    def number(pattern: str) -> int:
        return sum(map(int, re.findall(pattern, said)))

    spills = number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads")
    row = row._replace(
        registers=number(r"Used (\d+) registers"),
        stack=number(r"(\d+) bytes stack frame"),
        spills=spills,
        shared=number(r"(\d+) bytes smem"),
    )
    return row._replace(problem="spills") if spills and not row.problem else row


@functools.cache
def find_assembler() -> str | None:
    """NVIDIA's ptxas: of the package nvidia-cuda-nvcc, or on the path."""
    with contextlib.suppress(ImportError):
        import nvidia

        for place in nvidia.__path__:
            for found in Path(place).glob("*/bin/ptxas*"):
                return str(found)
    return shutil.which("ptxas")


# ---- the command -----------------------------------------------------------------------------------------------------


def main() -> int:
    """Compile all, print the table; returns 1 if anything is wrong with a kernel."""
    parser = argparse.ArgumentParser(prog="python -m tests.ptx", description=__doc__.splitlines()[0])
    parser.add_argument("-k", default="", metavar="PATTERN", help="only kernels whose names have a match")
    parser.add_argument("--examples", type=int, default=15, metavar="N", help="calls of each op (default: 15)")
    parser.add_argument("--processes", type=int, metavar="N", help="compile in N (default: one a core)")
    options = parser.parse_args()

    take_note()
    missing = note_all(options.examples)

    wanted = [(i, one) for i, one in enumerate(KERNELS) if re.search(options.k, label(one))]
    jobs = [(i, j) for i, one in wanted for j in range(len(one.signatures))]
    context = multiprocessing.get_context("fork")  # kernels are closures, which no other process could be sent
    with ProcessPoolExecutor(options.processes, mp_context=context) as pool:
        rows = sorted({row for found in pool.map(compiled, jobs) for row in found})
    print_table(rows)
    problems = [row for row in rows if row.problem]
    launched = {one.function.__code__ for one in KERNELS if one.signatures}
    idle = sorted({label(one).partition("(")[0] for one in KERNELS if one.function.__code__ not in launched})
    print(f"\n{len(KERNELS)} kernels, {len(jobs)} signatures; {len(problems)} problems")
    for text, count in REFUSED.most_common():
        print(f"{count} calls refused: {text}")
    if not find_assembler():
        print("no ptxas here: nothing was assembled")
    if missing:
        print(f"no kernels yet: {', '.join(missing)}")
    if idle:
        print(f"launched by nothing: {', '.join(idle)}")
    return 1 if problems or missing or not jobs or (idle and not options.k) else 0


def print_table(rows: list[Row]) -> None:
    """One line an architecture, kernel and dtypes, with the largest figures of its signatures."""
    print(f"{'kernel':<58} {'dtypes':<24} {'for':<6} {'regs':>4} {'stack':>5} {'spill':>5} {'shared':>6} {'wide':>4}")
    together: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        together.setdefault((row.kernel, row.kinds, row.architecture), []).append(row)
    for (kernel, dtypes, architecture), same in together.items():
        figures = [max(column) for column in zip(*[row[3:8] for row in same], strict=True)]
        widths = zip(figures, (4, 5, 5, 6, 4), strict=True)
        line = f"{kernel:<58} {dtypes:<24} {architecture:<6} " + " ".join(f"{one:>{width}}" for one, width in widths)
        problems = sorted({row.problem for row in same if row.problem})
        print("  ".join([line, *problems]))


if __name__ == "__main__":
    sys.exit(main())
