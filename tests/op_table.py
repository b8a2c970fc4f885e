"""Every op in one table, with what is known of it and what is tried while you wait.

python -m tests.op_table            prints it
python -m tests.op_table --write    also writes docs/ops.md
"""

import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tqdm import tqdm

import minigrad as mg
from minigrad import graph, kernels
from minigrad.ops.kinds import REGISTRY, Bilinear, Composite, Discrete, Elementwise, Fused, Linear, Record
from minigrad.testing import check_grads
from minigrad.testing.records import calls
from tests.test_ops import convert, differentiable, run

PAGE = Path(__file__).parents[1] / "docs/ops.md"
FEW = settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """What the table says of an op."""

    op: str
    kind: str
    vjp: str
    jvp: str
    orders: str
    devices: str
    dtypes: str
    oracle: str
    errors: str


def row(record: Record) -> Row:
    """Find it out."""
    devices = ", ".join(device for device in kernels.DEVICES if has_kernels(record, device))
    return Row(**known(record), orders=orders(record), devices=devices, dtypes=dtypes(record))


def known(record: Record) -> dict[str, str]:
    """The cells that are known without trying the op."""
    vjp, jvp = products(record)
    return {
        "op": record.name,
        "kind": type(record).__name__.lower(),
        "vjp": vjp,
        "jvp": jvp,
        "oracle": oracle(record),
        "errors": str(len(record.bad) + 1),  # and what is no tensor is refused by all
    }


def products(record: Record) -> tuple[str, str]:
    """Where the two Jacobian products come from."""
    if isinstance(record, Discrete):
        return "none", "none"
    if isinstance(record, Composite):
        return "its ops", "its ops"
    if isinstance(record, Fused):
        return "kernel, its ops", "its ops"
    if isinstance(record, Elementwise):
        return ("partials", "partials") if any(record.partials) else ("zero", "zero")
    if isinstance(record, Linear):
        return "written", "itself"
    return "written", "product rule" if isinstance(record, Bilinear) else "written"


def few_calls(record: Record, action: Callable[[Any, Any], None]) -> None:
    """Do something with a few calls of an op."""

    @given(data=st.data())
    @FEW
    def each(data: st.DataObject) -> None:
        _, args, kwargs = data.draw(calls(record))
        action(args, kwargs)

    each()


def orders(record: Record) -> str:
    """The orders of derivatives that are right for a few calls."""
    if isinstance(record, Discrete):
        return "none"

    def check(args: Any, kwargs: Any) -> None:
        args = (args[0], "float64") if record.name == "astype" else args
        function, inputs = differentiable(record, args, kwargs)
        check_grads(function, *inputs, order=2, elements=4)

    few_calls(record, check)
    return "1, 2"


def has_kernels(record: Record, device: str) -> bool:
    """Whether a device has the kernels of all that a few calls would run there."""
    backend, ran = kernels.backend(device), set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph, "watch", SimpleNamespace(ran=lambda op, *_: ran.add(op.name)))
        patch.setattr(kernels.Kernels, "there", lambda table, _: hasattr(backend, table.name))
        few_calls(record, lambda args, kwargs: run(record, args, kwargs))
    return all(hasattr(backend, name) for name in ran)


def dtypes(record: Record) -> str:
    """The dtypes that an op takes for its float inputs."""
    taken: list[str] = []
    for dtype in mg.dtypes.SUPPORTED:

        def call(args: Any, kwargs: Any, dtype: np.dtype = dtype) -> None:
            converted = [
                convert(arg, lambda array: array.astype(dtype) if array.dtype.kind == "f" else array) for arg in args
            ]
            run(record, converted, kwargs, dtype=str(dtype))

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            try:
                few_calls(record, call)
            except mg.MinigradError:
                continue
        taken.append(str(dtype))
    if len(taken) == len(mg.dtypes.SUPPORTED):
        return "all"
    integers = {str(dtype) for dtype in mg.dtypes.SUPPORTED if dtype.kind in "iu"}
    if integers <= set(taken):
        taken = [name for name in taken if name not in integers] + ["integers"]
    return ", ".join(taken)


def oracle(record: Record) -> str:
    """What an op is compared with."""
    function = record.oracle
    function = getattr(function, "pyfunc", function)  # of np.vectorize
    module = getattr(function, "__module__", None) or ""
    name = getattr(function, "__name__", type(function).__name__)
    if isinstance(function, np.ufunc) or module.split(".")[0] == "numpy":
        return f"numpy.{name}"
    if module in ("math", "_operator", "operator"):
        return f"{module.strip('_')}.{name}"
    if module == "minigrad.kernels.reference":
        return f"reference.{name}"
    return "a formula in numpy" if name == "<lambda>" else "a loop in numpy"


def table(rows: list[Row]) -> str:
    """The rows in Markdown, aligned."""
    names = list(Row.__dataclass_fields__)
    cells = [names, *([getattr(one, name) for name in names] for one in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |" for line in cells
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


EXPLAINED = """# Every op

`python -m tests.op_table --write` tries each op and writes this page; tests/test_ops.py draws more examples.

- **vjp, jvp**: where the products with the Jacobian come from: *written* in the record, from its *partials*, from the
  op *itself* (a linear one), by the *product rule* (a bilinear one), from *its ops* (a composition), from a *kernel* in
  an ordinary backward. *zero*: the function is flat. *none*: the result, an index or a truth value, has no derivative.
- **orders**: those that were right for five drawn calls each, in both modes, by differences.
- **devices**: those that have kernels for all that drawn calls run there.
- **dtypes**: what the float inputs may be, *all*: booleans, too; integers are converted where the result is not one.
- **oracle**: what values are compared with, always by other means.
- **errors**: how many bad calls are tested for their message, with the one that all share (an input is no tensor).

"""


def main() -> None:
    """Print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="also write docs/ops.md")
    options = parser.parse_args()
    rows = [row(record) for _, record in tqdm(sorted(REGISTRY.items()), unit="op")]
    blank = [one.op for one in rows for name in Row.__dataclass_fields__ if not getattr(one, name)]
    assert not blank, f"blank cells: {', '.join(blank)}"
    print(table(rows))
    print(f"{len(rows)} ops")
    if options.write:
        PAGE.write_text(EXPLAINED + table(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
