"""The exceptions of minigrad, and the one formatter of their messages.

Every error raised on purpose is a `MinigradError` and also the builtin that Python users expect
(`ShapeError` is a `ValueError`, `DtypeError` a `TypeError`, ...), so both can be caught.
"""

from collections.abc import Iterable, Sequence
from typing import Any


class MinigradError(Exception):
    """The base of every error that minigrad raises on purpose."""


class ShapeError(MinigradError, ValueError):
    """Shapes that do not fit together, or do not fit the op."""


class DtypeError(MinigradError, TypeError):
    """A dtype that an op or a gradient cannot have."""


class DeviceError(MinigradError, ValueError):
    """Arrays on different devices, or a device that is not there."""


class NoDeviceError(DeviceError):
    """The machine has no such device at all."""


class ArgumentError(MinigradError, ValueError):
    """An option outside its range."""


class OperandError(MinigradError, TypeError):
    """An input that is not a tensor and cannot become one."""


class IndexingError(MinigradError, IndexError):
    """An index out of range, or not an index at all."""


class GraphError(MinigradError, RuntimeError):
    """A derivative asked of a graph that cannot give it."""


class NonFiniteError(MinigradError, FloatingPointError):
    """A NaN or an infinity, made under `minigrad.debug`."""


class DataError(MinigradError, ValueError):
    """A file or folder whose contents cannot be used."""


class OutOfMemoryError(MinigradError, MemoryError):
    """More memory asked for than the device has."""


def shape_text(shape: Sequence[int]) -> str:
    """Write a shape as Python writes a tuple.

    >>> shape_text((8, 3)), shape_text((5,)), shape_text(())
    ('(8, 3)', '(5,)', '()')
    """
    return str(tuple(int(size) for size in shape))


def message(headline: str, rows: Iterable[tuple[str, str, Any]] = (), hint: str = "") -> str:
    """Lay out an error: what is broken, one aligned line an argument, one hint.

    Parameters
    ----------
    headline
        The op and the broken relation.
    rows
        `(name, axis letters, array)` of each argument; the array needs `shape` and `dtype`, and may have `device`.
    hint
        What to do about it.

    Examples
    --------
    >>> import numpy
    >>> print(message("matmul: j differs, 3 in x but 4 in y",
    ...               [("x", "i j", numpy.zeros((2, 3))), ("y", "j k", numpy.zeros((4, 5)))], "x.mT has 2"))
    matmul: j differs, 3 in x but 4 in y
      x (i j) = (2, 3)  float64 cpu
      y (j k) = (4, 5)  float64 cpu
    hint: x.mT has 2
    """
    table = [
        (
            name,
            f"({letters})" if letters else "",
            shape_text(array.shape),
            f"{array.dtype} {getattr(array, 'device', 'cpu')}",
        )
        for name, letters, array in rows
    ]
    widths = [max((len(row[i]) for row in table), default=0) for i in range(3)]
    lines = [headline]
    for name, letters, shape, kind in table:
        letters = f" {letters:<{widths[1]}}" if widths[1] else ""
        lines.append(f"  {name:<{widths[0]}}{letters} = {shape:<{widths[2]}}  {kind}")
    if hint:
        lines.append(f"hint: {hint}")
    return "\n".join(lines)


def suggestion(name: str, known: Iterable[str]) -> str:
    """Say which of the known names was probably meant ("" if none comes near).

    >>> suggestion("reshpae", ["reshape", "sum"])
    "; did you mean 'reshape'?"
    >>> suggestion("view", ["reshape", "sum"])
    "; did you mean 'reshape'?"
    """
    import difflib  # needed after a miss only

    names = list(known)
    guess = ELSEWHERE.get(name)
    near = [guess] if guess in names else difflib.get_close_matches(name, names, n=1, cutoff=0.7)
    return f"; did you mean '{near[0]}'?" if near else ""


ELSEWHERE = {
    "view": "reshape",
    "permute": "permute_dims",
    "transpose": "permute_dims",
    "unsqueeze": "expand_dims",
    "expand": "broadcast_to",
    "cat": "concat",
    "concatenate": "concat",
    "mm": "matmul",
    "bmm": "matmul",
    "dot": "matmul",
    "mul": "multiply",
    "sub": "subtract",
    "div": "divide",
    "neg": "negative",
    "eq": "equal",
    "ne": "not_equal",
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "amax": "max",
    "amin": "min",
    "type": "astype",
    "cpu": "to",
    "cuda": "to",
    "Tensor": "tensor",
    "from_numpy": "asarray",
    "requires_grad_": "requires_grad",
    "random_normal": "random",
}
"""What other libraries call things."""
