"""How exact convolutions have to be: one choice for the whole process."""

SQUARES: dict[str, tuple[int, ...]] = {"highest": (), "high": (2,), "medium": (4, 2)}
"""The precisions, and the sides of the squares of outputs that Winograd's convolution may compute together."""

_chosen = "high"


def get() -> str:
    """Return the name of the precision."""
    return _chosen


def choose(name: str) -> None:
    """Choose a precision, from the next call of a kernel on."""
    global _chosen
    _chosen = name


def squares() -> tuple[int, ...]:
    """Return the sides of the squares that are exact enough, the largest first."""
    return SQUARES[_chosen]
