"""What a row of the table is, and the data that its sides share.

A side is a function that prepares its tensors once and returns the call to time. It imports its library itself: each
library runs in a process of its own, and PyTorch's must not see minigrad, whose import changes how memory is freed.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Step = Callable[[], object]
DEVICE = "BENCHMARKS_DEVICE"  # in the environment of the processes
FLAT, IMAGES = ("contiguous",), ("NCHW", "channels_last")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison.

    Attributes
    ----------
    name
        What is computed, unique in its suite.
    ours
        Our side.
    torch
        PyTorch's side, given the `torch.memory_format` of its tensors.
    layouts
        The layouts that PyTorch is timed in; the better one counts.
    recorded
        Whether the timed call records the graph, or runs backward through it.
    peers
        The sides of other libraries, by the name of the package.
    at_batch
        For a whole training step: both sides at another batch size, which measures their memory.
    processes
        Whether each call starts a process: then it is not repeated within a turn, nor warmed up.
    rounds
        At most so many turns.
    """

    name: str
    ours: Callable[[], Step]
    torch: Callable[[Any], Step]
    layouts: tuple[str, ...] = FLAT
    recorded: bool = False
    peers: Mapping[str, Callable[[], Step]] = field(default_factory=dict)
    at_batch: "Callable[[int], Row] | None" = None
    processes: bool = False
    rounds: int = 1000


def normal(*shape: int, seed: int = 0, dtype: str = "float32") -> np.ndarray:
    """Draw standard normal numbers, the same on every side."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def device() -> str:
    """Where both sides compute."""
    return os.environ.get(DEVICE, "cpu")


def ours(array: np.ndarray, **options: Any) -> Any:
    """Our tensor of an array."""
    import minigrad as mg

    return mg.tensor(array, device=device(), **options)


def theirs(array: np.ndarray, layout: Any = None) -> Any:
    """PyTorch's tensor of an array, in a memory format."""
    import torch

    tensor = torch.from_numpy(array).to(device())
    return tensor if layout is None else tensor.contiguous(memory_format=layout)


def labels(count: int, classes: int) -> np.ndarray:
    """Draw class numbers (count)."""
    return np.random.default_rng(count).integers(0, classes, count)
