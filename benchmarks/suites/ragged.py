"""Convolutions of awkward shapes, for which nobody tuned anything."""

from benchmarks.suites.conv import three_rows

ROWS = [
    *three_rows("batch 1, 3->32 3x3 64x64", (1, 3, 64, 64), (32, 3, 3, 3), padding=(1, 1)),
    *three_rows("batch 1, 64->64 3x3 28x28", (1, 64, 28, 28), (64, 64, 3, 3), padding=(1, 1)),
    *three_rows("128->128 3x3 7x7", (32, 128, 7, 7), (128, 128, 3, 3), padding=(1, 1)),
    *three_rows("64->64 3x3 14x14", (32, 64, 14, 14), (64, 64, 3, 3), padding=(1, 1)),
    *three_rows("17->33 3x3 20x20", (16, 17, 20, 20), (33, 17, 3, 3), padding=(1, 1)),
    *three_rows("33->17 5x5 24x24", (16, 33, 24, 24), (17, 33, 5, 5), padding=(2, 2)),
    *three_rows("100->100 3x3 16x16", (16, 100, 16, 16), (100, 100, 3, 3), padding=(1, 1)),
    *three_rows("16->32 2x2 32x32", (32, 16, 32, 32), (32, 16, 2, 2)),
    *three_rows("2x2/2, 32->64 28x28", (32, 32, 28, 28), (64, 32, 2, 2), stride=2),
    *three_rows("32->32 1x7 17x17", (32, 32, 17, 17), (32, 32, 1, 7), padding=(0, 3)),
    *three_rows("dilation 2, 32->32 3x3 28x28", (32, 32, 28, 28), (32, 32, 3, 3), padding=(2, 2), dilation=2),
    *three_rows("groups 4, 64->64 3x3 28x28", (32, 64, 28, 28), (64, 16, 3, 3), padding=(1, 1), groups=4),
    *three_rows("stride 3, 16->32 5x5 33x33", (32, 16, 33, 33), (32, 16, 5, 5), stride=3, padding=(1, 1)),
    *three_rows("float64, 16->16 3x3 28x28", (16, 16, 28, 28), (16, 16, 3, 3), padding=(1, 1), dtype="float64"),
]
