"""Pools of several windows, forward without a graph and backward by itself."""

from benchmarks.row import IMAGES, Row
from benchmarks.suites.functions import backward, forward, ours, torch


def two_rows(kind: str, shape: tuple[int, int, int, int], window: int, stride: int, padding: int = 0) -> list[Row]:
    """Forward and backward of one pool of images (n c h w)."""
    title = f"{kind} {window}x{window}/{stride} {shape[1]}@{shape[2]}x{shape[3]}"
    sides = (
        ours(f"{kind}_pool2d", kernel_size=window, stride=stride, padding=padding),
        torch(f"{kind}_pool2d", window, stride, padding),
    )
    return [
        forward(f"{title}, forward", shape, *sides, layouts=IMAGES),
        backward(f"{title}, backward", shape, *sides, layouts=IMAGES, whole=False),
    ]


ROWS = [
    row
    for kind in ("max", "avg")
    for row in (
        *two_rows(kind, (32, 10, 60, 60), 3, 3),
        *two_rows(kind, (32, 64, 32, 32), 2, 2),
        *two_rows(kind, (16, 64, 56, 56), 3, 2, 1),
        *two_rows(kind, (32, 16, 32, 32), 5, 1, 2),
        *two_rows(kind, (32, 192, 8, 8), 8, 8),
    )
]
