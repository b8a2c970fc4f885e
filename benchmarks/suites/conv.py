"""Convolutions of well-known nets: forward, and the gradient of either operand by itself.

Both sides of a gradient are the bare op, without a graph: `conv2d_input` and `conv2d_weight` here, and there
`aten.convolution_backward`, asked for one gradient, which is what PyTorch's own backward calls.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import row
from benchmarks.row import IMAGES, Row, Step, normal


def three_rows(
    name: str,
    x: tuple[int, int, int, int],
    weight: tuple[int, int, int, int],
    stride: int = 1,
    padding: tuple[int, int] = (0, 0),
    dilation: int = 1,
    groups: int = 1,
    dtype: str = "float32",
) -> list[Row]:
    """The forward and both gradients of one convolution of x (n c h w) with a weight (o c/groups kh kw)."""
    sizes = [(x[i] + 2 * padding[i - 2] - dilation * (weight[i] - 1) - 1) // stride + 1 for i in (2, 3)]
    out = (x[0], weight[0], *sizes)

    def operands() -> list[np.ndarray]:
        return [normal(*shape, seed=seed, dtype=dtype) for seed, shape in enumerate((x, weight, out))]

    def ours(part: str) -> Callable[[], Step]:
        def prepare() -> Step:
            import minigrad as mg

            image, kernel, g = map(row.ours, operands())
            options: Any = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
            calls: dict[str, Step] = {
                "forward": lambda: mg.conv2d(image, kernel, **options),
                "input gradient": lambda: mg.conv2d_input(g, kernel, shape=x, **options),
                "weight gradient": lambda: mg.conv2d_weight(g, image, shape=weight, **options),
            }
            return calls[part]

        return prepare

    def torch(part: str) -> Callable[[Any], Step]:
        def prepare(layout: Any) -> Step:
            import torch

            image, kernel, g = (row.theirs(a, layout) for a in operands())

            def backward(*wanted: bool) -> Step:
                return lambda: torch.ops.aten.convolution_backward(
                    g, image, kernel, None, [stride] * 2, padding, [dilation] * 2, False, [0, 0], groups, wanted
                )

            calls: dict[str, Step] = {
                "forward": lambda: torch.conv2d(image, kernel, None, stride, padding, dilation, groups),
                "input gradient": backward(True, False, False),
                "weight gradient": backward(False, True, False),
            }
            return calls[part]

        return prepare

    return [
        Row(name=f"{name}, {part}", ours=ours(part), torch=torch(part), layouts=IMAGES)
        for part in ("forward", "input gradient", "weight gradient")
    ]


ROWS = [
    *three_rows("SimpleNet 1, 1->10 5x5 64x64", (32, 1, 64, 64), (10, 1, 5, 5)),
    *three_rows("SimpleNet 2, 10->20 5x5 20x20", (32, 10, 20, 20), (20, 10, 5, 5)),
    *three_rows("64->64 3x3 32x32", (32, 64, 32, 32), (64, 64, 3, 3), padding=(1, 1)),
    *three_rows("128->128 3x3 16x16", (32, 128, 16, 16), (128, 128, 3, 3), padding=(1, 1)),
    *three_rows("3->64 7x7/2 224x224", (16, 3, 224, 224), (64, 3, 7, 7), stride=2, padding=(3, 3)),
    *three_rows("256->64 1x1 14x14", (32, 256, 14, 14), (64, 256, 1, 1)),
    *three_rows("depthwise 128 3x3 32x32", (32, 128, 32, 32), (128, 1, 3, 3), padding=(1, 1), groups=128),
]
