"""What kernels that compute little move in a second, beside a copy: `python -m benchmarks.bandwidth --device cuda`.

The bytes of a row are those that it must read and write once each; a kernel that reads an array twice, as batch-norm
does, is counted as if both times came from memory.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import minigrad as mg
from demos.cli import Parser
from minigrad import kernels, nn

Step = Callable[[], object]

CHANNELS, SIDE = 64, 32


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = Parser("python -m benchmarks.bandwidth", description="Measure the bandwidth of kernels beside a copy.")
    parser.add_argument("--device", choices=kernels.DEVICES, default="cpu", help="where (default: cpu)")
    parser.add_argument("--bytes", type=float, default=1e8, metavar="N", help="of an array, about (default: 1e8)")
    options = parser.parse_args(arguments)
    wait = mg.cuda.synchronize if options.device == "cuda" else lambda: None
    print(f"{mg.cuda.device_name() if options.device == 'cuda' else 'cpu'}, arrays of {options.bytes:.1e} bytes\n")
    print(f"{'':<28} {'ms':>9} {'GB/s':>8} {'of a copy':>9}")
    of_copy = 0.0
    for name, count, step in steps(options.device, max(1, round(options.bytes / (4 * CHANNELS * SIDE**2)))):
        seconds = median_time(step, wait)
        rate = count / seconds / 1e9
        of_copy = of_copy or rate
        print(f"{name:<28} {seconds * 1e3:>9.3f} {rate:>8.0f} {rate / of_copy:>9.0%}")
    return 0


def steps(device: str, images: int) -> Iterator[tuple[str, int, Step]]:
    """Each row: a name, how many bytes it moves, and what to time."""
    shape = images, CHANNELS, SIDE, SIDE
    x, y, g = (mg.Generator(seed).normal(shape).to(device) for seed in range(3))
    whole, part = 4 * x.size, x.size  # bytes of images, and of a quarter of the pixels
    copy = kernels.Kernels("astype")[x._array.__class__]
    yield "copy", 2 * whole, lambda: copy(x._array, dtype=mg.float32)
    yield "relu", 2 * whole, lambda: mg.relu(x)
    yield "a * b", 3 * whole, lambda: x * y
    yield "gelu", 2 * whole, lambda: mg.gelu(x)
    yield "sum of each row", whole, lambda: x.sum(axis=3)
    yield "sum of each channel", whole, lambda: x.sum(axis=(0, 2, 3))
    for name, pool, kept in (("max", mg.max_pool2d, part), ("avg", mg.avg_pool2d, 0)):
        yield f"{name}-pool 2x2", whole + part, partial(pooled, pool, x)
        quarter = g[:, :, ::2, ::2] + 0
        yield f"{name}-pool 2x2, backward", whole + part + kept, backward(partial(pooled, pool), x, quarter)
    norm = nn.BatchNorm2d(CHANNELS).to(device)
    yield "batch-norm, training", 3 * whole, lambda: norm(x)
    yield "batch-norm, backward", 5 * whole, backward(norm, x, g)
    norm.eval()
    yield "batch-norm, inference", 2 * whole, lambda: norm(x)


def pooled(pool: Callable[..., mg.Tensor], x: mg.Tensor) -> mg.Tensor:
    """Windows of two by two."""
    return pool(x, 2)


def backward(f: Callable[[mg.Tensor], mg.Tensor], x: mg.Tensor, g: mg.Tensor) -> Step:
    """The backward of f alone, again and again through a graph that is kept."""
    leaf = x.detach()
    leaf.requires_grad = True
    kept = f(leaf)

    def step() -> None:
        leaf.grad = None
        kept.backward(g, retain_graph=True)

    return step


def median_time(step: Step, wait: Callable[[], object]) -> float:
    """Seconds a call takes where many follow each other, of which the device is the last to be through."""

    def run(calls: int) -> float:
        wait()
        started = time.perf_counter()
        for _ in range(calls):
            step()
        wait()
        return time.perf_counter() - started

    run(2)
    calls = max(1, int(0.05 / max(run(1), 1e-6)))
    return statistics.median(run(calls) / calls for _ in range(5))


if __name__ == "__main__":
    raise SystemExit(main())
