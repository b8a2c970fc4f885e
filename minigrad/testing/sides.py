"""What must hold beside the derivative itself: nothing changed, shared, random, layout-dependent or left alive."""

import functools
import gc
import itertools
import weakref
from collections.abc import Callable

import numpy as np

from minigrad.creation import asarray
from minigrad.errors import MinigradError
from minigrad.tensor import Tensor
from minigrad.testing.compare import Products
from minigrad.testing.functions import Arrays, Function, OfArrays, OfTensors
from minigrad.transforms import jvp, vjp


def _reversed(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.flip(x))


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "contiguous": lambda x: np.array(x, order="C"),
    "transposed": lambda x: np.array(x.T, order="C").T,
    "reversed": lambda x: _reversed(np.array(_reversed(x), order="C")),
    "strided": lambda x: np.repeat(x[..., None], 2, axis=-1)[..., 0],
    "broadcast": lambda x: np.broadcast_to(x[:1], x.shape) if x.ndim else x,
}
"""The same values, laid out otherwise in memory; but "broadcast" repeats the first row."""


DIFFERS = "the value differs from call to call: give what is random in f a new generator in each call"


def check_sides(products: Products, problems: list[str]) -> None:
    """Add a sentence to the problems for everything that is not as it should be."""
    _check_unchanged(products, problems)
    _check_layouts(products, problems)
    function, arrays, cotangent = products.function, products.arrays, products.cotangent
    if isinstance(function, OfTensors):
        _check_both_paths(function, problems, products)
        _check_one_by_one(function, problems, products)
        _check_nothing_left(function, problems, arrays, cotangent)


def _check_unchanged(products: Products, problems: list[str]) -> None:
    """Inputs and cotangent keep their bits, results repeat and are arrays of their own."""
    function, arrays, cotangent = products.function, products.function.arrays, products.cotangent.copy()
    gradients, value = function.pull(arrays, cotangent), function.value(arrays)
    names, before = (*function.names, "the cotangent"), (*products.arrays, products.cotangent)
    for name, x, old in zip(names, (*arrays, cotangent), before, strict=True):
        if x.tobytes() != old.tobytes():
            problems.append(f"{name} was changed")
    if value.tobytes() != products.value.tobytes():
        problems.append(DIFFERS)
    elif any(one.tobytes() != two.tobytes() for one, two in zip(gradients, products.gradients, strict=True)):
        problems.append("the gradient differs from call to call")
    if isinstance(function, OfArrays):
        _check_own_memory(function, problems, arrays, gradients, cotangent)


def _check_own_memory(
    function: Function, problems: list[str], arrays: Arrays, gradients: Arrays, cotangent: np.ndarray
) -> None:
    """A gradient shares no memory with an input, the cotangent or another gradient (tensors are never written to)."""
    named = [(f"the gradient of {name}", g) for name, g in zip(function.names, gradients, strict=True)]
    others = [*zip(function.names, arrays, strict=True), ("the cotangent", cotangent), *named]
    for i, (name, gradient) in enumerate(named):
        for other, array in others[: len(arrays) + 1 + i]:
            if gradient.size and np.shares_memory(gradient, array):
                problems.append(f"{name} shares memory with {other}: writing on one would change the other")


def _check_layouts(products: Products, problems: list[str]) -> None:
    """Strides of the inputs make no difference but that of rounding."""
    function, cotangent = products.function, products.cotangent
    for layout, change in LAYOUTS.items():
        expected = products.value, *products.gradients
        if layout == "broadcast":
            equal_rows = [LAYOUTS["contiguous"](change(x)) for x in products.arrays]
            try:
                expected = function.value(equal_rows), *function.pull(equal_rows, cotangent)
            except MinigradError:
                continue  # they are no input of f
        laid = [change(x) for x in products.arrays]
        results = function.value(laid), *function.pull(laid, cotangent)
        if not near(results[0], expected[0], lambda: products.slack_of_value):
            problems.append(f"the value is another one for {layout} inputs")
        for name, gradient, one in zip(function.names, results[1:], expected[1:], strict=True):
            if not near(gradient, one, lambda: products.slack_of_gradients):
                problems.append(f"the gradient of {name} is another one for {layout} inputs")


def _check_both_paths(function: OfTensors, problems: list[str], products: Products) -> None:
    """f(x, x) has the sum of the two gradients, for the first two inputs that look alike."""
    arrays = products.arrays
    alike = (
        pair
        for pair in itertools.combinations(range(len(arrays)), 2)
        if arrays[pair[0]].shape == arrays[pair[1]].shape and arrays[pair[0]].dtype == arrays[pair[1]].dtype
    )
    first, second = next(alike, (0, 0))
    if first == second:
        return
    same = list(arrays)
    same[second] = same[first]
    try:
        cotangent = np.ones_like(function.value(same))
        apart = function.pull(same, cotangent)
    except MinigradError:
        return  # f(x, x) is not defined
    inputs = [asarray(x, copy=True) for x in same]
    leaf = inputs[first] = inputs[second] = asarray(same[first]).astype(same[first].dtype)
    leaf.requires_grad = True
    out = function.tensor(*inputs)
    if not out.requires_grad:
        return
    out.backward(asarray(cotangent))
    together = leaf.grad.detach().numpy() if leaf.grad is not None else np.zeros_like(same[first])
    if not near(together, apart[first] + apart[second], lambda: 2 * products.slack_of_gradients):
        problems.append(
            f"f(x, x), with one x as {function.names[first]} and {function.names[second]}, has not the sum of the "
            "gradients of both"
        )


def _check_one_by_one(function: OfTensors, problems: list[str], products: Products) -> None:
    """An input's derivatives are the same if all other inputs are constants, for which an op may keep less."""
    arrays, cotangent, gradients = products.arrays, products.cotangent, products.gradients
    if len(arrays) < 2:
        return
    for i, name in enumerate(function.names):

        def alone(x: Tensor, i: int = i) -> Tensor:
            return function.tensor(*(x if j == i else asarray(other) for j, other in enumerate(arrays)))

        x, tangents = asarray(arrays[i]), [np.zeros_like(other) for other in arrays]
        tangents[i] += np.linspace(-1, 1, x.size).reshape(x.shape)
        gradient = vjp(alone, x)[1](asarray(cotangent))[0].numpy()
        if not near(gradient, gradients[i], lambda: products.slack_of_gradients):
            problems.append(f"the gradient of {name} is another one if nothing else is differentiated")
        tangent = jvp(alone, [x], [asarray(tangents[i])])[1].numpy()
        if not near(tangent, function.push(arrays, tangents), lambda: products.slack_of_tangent):
            problems.append(f"the tangent of {name} is another one if nothing else is differentiated")


def _check_nothing_left(function: OfTensors, problems: list[str], arrays: Arrays, cotangent: np.ndarray) -> None:
    """After a backward nothing holds the tensors, and no cycle of references waits for the collector."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        inputs = [asarray(x, copy=True) for x in arrays]
        for x in inputs:
            x.requires_grad = True
        out = function.tensor(*inputs)
        if out.requires_grad:
            out.backward(asarray(cotangent))
        alive = [weakref.ref(x) for x in (*inputs, out)]
        del inputs, out, x
        if any(one() is not None for one in alive):
            problems.append("after a backward somebody still holds an input or the result: a cache, or a cycle")
    finally:
        if collecting:
            gc.enable()


def near(x: np.ndarray, y: np.ndarray, slack: Callable[[], float] = lambda: 0.0) -> bool:
    """Whether two arrays differ by rounding alone; `slack` says how far that may go where they are what it leaves."""
    size = float(np.abs(np.nan_to_num(y, posinf=0, neginf=0)).max(initial=0.0))
    units = 64 * np.finfo(y.dtype).eps
    equal = functools.partial(np.allclose, x, y, rtol=units, equal_nan=True)
    return x.shape == y.shape and (equal(atol=units * size * max(1.0, y.size) ** 0.5) or equal(atol=slack()))
