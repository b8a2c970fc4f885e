"""What a check found out, as text that a person can act upon."""

import base64
import inspect
import math
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad import tree
from minigrad.errors import MinigradError, shape_text
from minigrad.tensor import Tensor

BARS = " ▁▂▃▄▅▆▇█"
WHOLE = 64
"""Arrays of up to so many elements are written out in a reproducer; larger ones are packed."""


@dataclass(frozen=True)
class Element:
    """The derivative of <g, f> with respect to one element of one input, twice.

    Attributes
    ----------
    input
        What the input is called.
    index
        Of the element, in its input.
    shape, dtype
        Of the input.
    analytic, numeric
        The derivative by f's own rules, and from differences in float64.
    allowed
        How far they may be apart.
    settled
        Whether the differences agree with each other, so that they prove something.
    slopes
        From the left and from the right.
    kink, subgradient
        Whether they differ, and the analytic derivative lies between.
    sweep
        `(eps, |difference quotient - analytic|)` for falling steps.
    """

    input: str
    index: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: np.dtype
    analytic: float
    numeric: float
    allowed: float
    settled: bool
    slopes: tuple[float, float] = (math.nan, math.nan)
    kink: bool = False
    subgradient: bool = False
    sweep: tuple[tuple[float, float], ...] = ()

    @property
    def absolute(self) -> float:
        """|analytic - numeric|."""
        return abs(self.analytic - self.numeric)

    @property
    def relative(self) -> float:
        """The error as a part of the numeric derivative."""
        return self.absolute / abs(self.numeric) if self.numeric else math.inf if self.absolute else 0.0

    @property
    def ulps(self) -> float:
        """The error in units in the last place of the numeric derivative, in the input's dtype."""
        return self.absolute / float(np.spacing(np.abs(np.asarray(self.numeric, self.dtype))))

    @property
    def right(self) -> bool:
        """Whether the analytic derivative is the numeric one, as far as that can be told."""
        return self.settled and self.absolute <= self.allowed and not self.kink

    @property
    def verdict(self) -> str:
        """One sentence on this derivative."""
        if self.right:
            return "right"
        if self.kink:
            sides = "a kink (left {:.6g}, right {:.6g}), and {:.6g} ".format(*self.slopes, self.analytic)
            if self.subgradient:
                return sides + "is a subgradient: kinks='accept' lets it pass"
            return sides + "does not lie between"
        if not self.settled:
            return "no derivative to compare with: the difference quotients do not agree with each other"
        return "wrong"

    @property
    def line(self) -> str:
        """This derivative in one line."""
        return (
            f"{self.input}{list(self.index)}: {self.verdict}, analytic {self.analytic:.9g}, "
            f"numeric {self.numeric:.9g}, error {self.relative:.1e} relative, {self.ulps:.3g} ulp"
        )

    def __str__(self) -> str:
        left, right = self.slopes
        return "\n".join(
            [
                f"{self.input}{list(self.index)} of shape {shape_text(self.shape)}, {self.dtype}: {self.verdict}",
                f"  analytic  {self.analytic!r}",
                f"  numeric   {self.numeric!r}; {self.allowed:.1e} apart would do",
                f"  error     {self.absolute:.3g} absolute, {self.relative:.3g} relative, {self.ulps:.3g} ulp",
                f"  slopes    {left:.9g} from the left, {right:.9g} from the right",
                f"  sweep     {bars([error for _, error in self.sweep])}  error of eps = 1e-1 ... 1e-12, "
                + self._shape,
            ]
        )

    @property
    def _shape(self) -> str:
        if not self.settled:
            return "quotients that do not agree"
        return "a V: right" if self.falls else "flat: wrong, or a kink"

    @property
    def falls(self) -> bool:
        """Whether the error falls with eps, as it does for a right derivative."""
        errors = [error for _, error in self.sweep if math.isfinite(error)]
        return bool(errors) and min(errors) <= max(1e-3 * errors[0], self.allowed)


def bars(values: Sequence[float]) -> str:
    """Positive numbers as bars, on a logarithmic scale from 1e-16 to 1 and above.

    >>> bars([1.0, 1e-4, 1e-8, 1e-12, 0.0])
    '█▆▄▂ '
    """

    def height(value: float) -> int:
        if not math.isfinite(value):
            return len(BARS) - 1
        return 0 if value < 1e-16 else min(len(BARS) - 1, max(0, round((math.log10(value) + 16) / 2)))

    return "".join(BARS[height(value)] for value in values)


@dataclass(frozen=True)
class Report:
    """What a check did and found; `print` it.

    Attributes
    ----------
    check, subject
        The name of the check, and of what was checked.
    problems
        One sentence for each thing that is wrong: none if all is right.
    elements
        The derivatives that were compared element by element: the worst one of each input.
    facts
        What was looked at, a sentence each.
    reproducer
        Python code that does this check again.
    """

    check: str
    subject: str
    problems: tuple[str, ...] = ()
    elements: tuple[Element, ...] = ()
    facts: tuple[str, ...] = ()
    reproducer: str = field(default="", repr=False)

    @property
    def passed(self) -> bool:
        """Whether no problem was found."""
        return not self.problems

    def __str__(self) -> str:
        lines = [f"{self.check}: {self.subject} is {'right' if self.passed else 'wrong'}"]
        lines += [f"- {problem}" for problem in self.problems]
        lines += [one.line if one.right or self.passed else str(one) for one in self.elements]
        lines += [f"checked: {'; '.join(self.facts)}"] if self.facts else []
        lines += (
            ["to see this again:", *(f"    {line}" for line in self.reproducer.splitlines())]
            if (self.problems and self.reproducer)
            else []
        )
        return "\n".join(lines)

    def required(self) -> "Report":
        """Return the report, or raise it if there is a problem."""
        if self.problems:
            raise CheckError(self)
        return self


class CheckError(MinigradError, AssertionError):
    """A property that does not hold. Its text is that of its `report`."""

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report


def hides(caught: Any) -> bool:
    """For the `__tracebackhide__` of a module: pytest shows a failed check without the source of the check."""
    return caught.errisinstance(CheckError)


__tracebackhide__ = hides


def subject_of(f: Any) -> str:
    """A name for a function or module, and where it was written."""
    name = getattr(f, "__qualname__", None) or getattr(f, "__name__", None) or type(f).__name__
    code = getattr(inspect.unwrap(f) if callable(f) else f, "__code__", None)
    return f"{name} ({code.co_filename.rsplit('/', 1)[-1]}:{code.co_firstlineno})" if code else str(name)


def reproducer(check: str, f: Any, inputs: Sequence[Any], **options: Any) -> str:
    """Code that calls a check with the same function, inputs and options."""
    lines = ["import minigrad", "import numpy as np", "from minigrad.testing import " + check]
    names = []
    for name, value in [("f", f), *((f"x{i}", x) for i, x in enumerate(inputs)), *options.items()]:
        if callable(value) and not isinstance(value, Tensor):
            line, text = _import(value, name)
            lines += [line] if line else []
        elif name in options:
            text = repr(value)
        else:
            lines.append(f"{name} = {literal(value)}")
            text = name
        names.append(f"{name}={text}" if name in options else text)
    return "\n".join([*lines, f"print({check}({', '.join(names)}))"])


def _import(f: Any, alias: str) -> tuple[str, str]:
    """A line that makes a function known, and its name from then on."""
    name, module = getattr(f, "__name__", ""), getattr(f, "__module__", None)
    if name and getattr(sys.modules["minigrad"], name, None) is f:
        return "", f"minigrad.{name}"
    if module not in (None, "__main__") and getattr(sys.modules.get(module), name, None) is f:
        return f"from {module} import {name}", name
    return f"{alias} = ...  # {subject_of(f)}", alias


def literal(x: Any) -> str:
    """An expression with the value of x, exact to the last bit for tensors and arrays, also in lists, tuples and dicts.

    >>> literal([np.array([[0.1, 2.0]], "float32"), 3])
    "[np.array([[0.1, 2.0]], 'float32'), 3]"
    """
    leaves, structure = tree.flatten(x)
    if structure.kind is not None:
        return repr(structure.unflatten(map(_Text, map(literal, leaves))))
    if not isinstance(x, (np.ndarray, Tensor)):
        return repr(x)
    array = x if isinstance(x, np.ndarray) else x.detach().numpy()
    if not array.size:
        text = f"np.zeros({array.shape}, {str(array.dtype)!r})"
    elif array.size <= WHOLE:
        text = f"np.array({_written(array)}, {str(array.dtype)!r})"
    else:
        packed = base64.b85encode(zlib.compress(array.tobytes())).decode()
        text = (
            f"np.frombuffer(__import__('zlib').decompress(__import__('base64').b85decode({packed!r})), "
            f"{str(array.dtype)!r}).reshape({array.shape})"
        )
    return text if array is x else f"minigrad.tensor({text})"


class _Text(str):
    """Text that stands for itself in a repr."""

    __slots__ = ()
    __repr__ = str.__str__


def _written(array: np.ndarray) -> str:
    """Nested lists, each number by the shortest text that gives it back in its dtype."""
    if array.ndim:
        return f"[{', '.join(_written(part) for part in array)}]"
    text = str(array[()]) if array.dtype.kind == "f" else repr(array.item())
    return {"nan": "np.nan", "inf": "np.inf", "-inf": "-np.inf"}.get(text, text)
