"""Trees: lists, tuples and dicts inside each other, with anything else at the leaves. None is a tree without leaves.

>>> leaves, structure = mg.tree.flatten({"weight": 1, "layers": [2, (3, None)]})
>>> leaves
[1, 2, 3]
>>> structure.unflatten(10 * leaf for leaf in leaves)
{'weight': 10, 'layers': [20, (30, None)]}
>>> structure.paths()
["['weight']", "['layers'][0]", "['layers'][1][0]"]
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from minigrad.errors import ArgumentError


@dataclass(frozen=True, slots=True)
class Structure:
    """A tree without its leaves.

    Attributes
    ----------
    kind
        list, tuple, dict, the class of a named tuple, or NoneType; None where there is a leaf.
    keys, parts
        What the parts are found under, and their structures.
    """

    kind: type | None
    keys: tuple[Any, ...] = ()
    parts: tuple["Structure", ...] = ()

    def unflatten(self, leaves: Iterable[Any]) -> Any:
        """The tree of this structure with these leaves.

        Raises
        ------
        ArgumentError
            If there are too many of them, or too few.
        """
        given = list(leaves)
        rest = iter(given)
        try:
            tree = self._build(rest)
            fits = not list(rest)
        except StopIteration:
            fits = False
        if not fits:
            raise ArgumentError(f"unflatten: {len(given)} leaves for a tree of {len(self.paths())}")
        return tree

    def leaves(self, tree: Any, name: str = "the tree") -> list[Any]:
        """The leaves of a tree of this structure, in the order of this one.

        What stands where this one has a leaf is a leaf, whatever it is; `name` is what errors call the tree.

        Raises
        ------
        ArgumentError
            Naming the place where the structures differ.
        """
        return list(self._find(tree, name))

    def paths(self) -> list[str]:
        """How python code would reach each leaf."""
        return list(self._paths(""))

    def _build(self, leaves: Iterator[Any]) -> Any:
        if self.kind is None:
            return next(leaves)
        if self.kind is type(None):
            return None
        values = [part._build(leaves) for part in self.parts]
        if self.kind is dict:
            return dict(zip(self.keys, values, strict=True))
        return self.kind(*values) if hasattr(self.kind, "_fields") else self.kind(values)

    def _find(self, tree: Any, path: str) -> Iterator[Any]:
        if self.kind is None:
            yield tree
            return
        kind, keys = _kind_and_keys(tree)
        if kind is not self.kind or set(keys) != set(self.keys):
            raise ArgumentError(f"{path} is {_text(kind or type(tree), keys)}, not {_text(self.kind, self.keys)}")
        for key, part in zip(self.keys, self.parts, strict=True):
            yield from part._find(tree[key], f"{path}[{key!r}]")

    def _paths(self, path: str) -> Iterator[str]:
        if self.kind is None:
            yield path
        for key, part in zip(self.keys, self.parts, strict=True):
            yield from part._paths(f"{path}[{key!r}]")


_LEAF = Structure(None)


def flatten(tree: Any) -> tuple[list[Any], Structure]:
    """The leaves of a tree, and its structure, which makes trees of leaves.

    >>> mg.tree.flatten([4, (), 5])[0]
    [4, 5]
    """
    leaves: list[Any] = []
    return leaves, _structure(tree, leaves)


def map(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """The tree of what the function gives for each leaf, together with the leaves of other trees at the same places.

    >>> mg.tree.map(lambda x, y: x - y, {"a": 3, "b": [4]}, {"b": [1], "a": 1})
    {'a': 2, 'b': [3]}
    """
    leaves, structure = flatten(tree)
    columns = [structure.leaves(other, "another tree") for other in others]
    return structure.unflatten(function(*row) for row in zip(leaves, *columns, strict=True))


def _structure(tree: Any, leaves: list[Any]) -> Structure:
    kind, keys = _kind_and_keys(tree)
    if kind is None:
        leaves.append(tree)
        return _LEAF
    return Structure(kind, keys, tuple([_structure(tree[key], leaves) for key in keys]))


def _kind_and_keys(tree: Any) -> tuple[type | None, tuple[Any, ...]]:
    if isinstance(tree, dict):
        return dict, tuple(tree)
    if isinstance(tree, (list, tuple)):
        named = isinstance(tree, tuple) and hasattr(tree, "_fields")
        return type(tree) if named else list if isinstance(tree, list) else tuple, tuple(range(len(tree)))
    return (type(None), ()) if tree is None else (None, ())


def _text(kind: type, keys: tuple[Any, ...]) -> str:
    if kind is dict:
        return f"a dict of {', '.join(repr(key) for key in keys)}" if keys else "an empty dict"
    return f"a {kind.__name__} of {len(keys)}" if issubclass(kind, (list, tuple)) else f"a {kind.__name__}"
