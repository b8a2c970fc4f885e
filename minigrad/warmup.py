"""Compile ahead of time what the layers, losses and optimisers need: `python -m minigrad warmup`."""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

from minigrad import nn, optim
from minigrad.creation import arange, ones
from minigrad.tensor import no_grad


def _chain(*ends: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 10, 5), nn.MaxPool2d(3), nn.ReLU(), nn.Conv2d(10, 20, 5), *ends, nn.Flatten(), nn.Linear(500, 100)
    )


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "max-pools": (
        lambda: nn.Sequential(nn.MaxPool2d(3, 1, padding=1), nn.MaxPool2d(2), nn.MaxPool2d(3), nn.MaxPool2d(6)),
        (4, 16, 36, 36),
    ),
    "average pools": (
        lambda: nn.Sequential(nn.AvgPool2d(3, 1, padding=1), nn.AvgPool2d(2), nn.AvgPool2d(3), nn.AvgPool2d(6)),
        (4, 16, 36, 36),
    ),
    "convolution 3x3": (lambda: nn.Conv2d(64, 64, 3, padding=1), (4, 64, 32, 32)),
    "linear": (lambda: nn.Sequential(nn.Linear(1000, 1000), nn.ReLU(), nn.Linear(1000, 15)), (32, 1000)),
    "activations": (lambda: nn.Sequential(nn.BatchNorm1d(100), nn.Tanh(), nn.Sigmoid(), nn.Dropout()), (32, 100)),
    "more activations": (
        lambda: nn.Sequential(
            *(nn.LayerNorm(100), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.ELU(), nn.LeakyReLU(), nn.Softplus()),
        ),
        (32, 100),
    ),
    "large activations": (
        lambda: nn.Sequential(nn.ReLU(), nn.Sigmoid(), nn.Tanh(), nn.Dropout()),
        (32, 4096),
    ),
    "convolution 3x3, 48 channels": (
        lambda: nn.Sequential(nn.Conv2d(48, 96, 3, padding=1), nn.Conv2d(96, 48, 3, padding=1)),
        (4, 48, 32, 32),
    ),
    "depthwise convolution": (lambda: nn.Conv2d(32, 32, 3, padding=1, groups=32), (4, 32, 32, 32)),
    "convolution 1x1": (lambda: nn.Conv2d(64, 64, 1), (4, 64, 14, 14)),
    "convolution 7x7, stride 2": (lambda: nn.Conv2d(3, 64, 7, stride=2, padding=3), (2, 3, 64, 64)),
    "convolution 3x3, stride 2": (lambda: nn.Conv2d(24, 48, 3, stride=2, padding=1), (4, 24, 32, 32)),
    "convolution 4x4, stride 2": (lambda: nn.Conv2d(32, 64, 4, stride=2, padding=1), (4, 32, 32, 32)),
    "convolution 1x1, stride 2": (lambda: nn.Conv2d(24, 48, 1, stride=2), (4, 24, 32, 32)),
    "convolution, pool, relu": (lambda: _chain(nn.MaxPool2d(3), nn.ReLU()), (32, 1, 64, 64)),
    "convolution, batch-norm, relu": (
        lambda: nn.Sequential(nn.Conv2d(24, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.AvgPool2d(2)),
        (4, 24, 16, 16),
    ),
    "convolution 3x3, pool": (lambda: nn.Sequential(nn.Conv2d(10, 20, 3), nn.MaxPool2d(3)), (32, 10, 20, 20)),
    "convolution 3x3, pool 2x2": (
        lambda: nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        (4, 16, 32, 32),
    ),
    "convolution 3x3, small": (lambda: nn.Conv2d(20, 40, 3), (32, 20, 6, 6)),
    "convolution, relu, pool": (lambda: _chain(nn.ReLU(), nn.MaxPool2d(3)), (32, 1, 64, 64)),
    "convolution, pool, batch-norm, relu": (
        lambda: _chain(nn.MaxPool2d(3), nn.BatchNorm2d(20), nn.ReLU()),
        (32, 1, 64, 64),
    ),
}
"""What is trained for a step, and the shape of its batch; first what has little in common, for processes to share."""


def train(name: str, dtype: str) -> int:
    """Train one of the models for a step, in this process; return how many kernels were compiled for it."""
    from minigrad.kernels.cpu.compiler import WATCH

    WATCH.silent, before = True, WATCH.compiled
    make, shape = MODELS[name]
    model, x = make().to(dtype), ones(shape, dtype=dtype)
    x.requires_grad = True
    for images in x, x[:3]:  # a batch that fills vectors, one that does not, whose gradients are added
        nn.cross_entropy(model(images).reshape(len(images), -1), arange(len(images)) % 10).backward()
    parameters = list(model.parameters())
    if parameters:
        for optimizer in optim.SGD(parameters, lr=1), optim.SGD(parameters, lr=1, momentum=1), optim.Adam(parameters):
            optimizer.step()
    with no_grad():
        model.eval()(x)
    return WATCH.compiled - before


def run(dtypes: Sequence[str], workers: int, installed: bool = False) -> int:
    """Train all models, with some dtypes and in several processes, and say what came of it; return the exit status."""
    from minigrad.kernels.cpu.cache import INSTALLED, cache_folder, writable

    if installed:
        os.environ["MINIGRAD_CACHE"] = str(INSTALLED)
    folder = cache_folder()
    if folder is None or not writable(folder):
        print(f"error: {folder or 'the cache'} cannot be written; MINIGRAD_CACHE names another folder", file=sys.stderr)
        return 1
    began = time.perf_counter()
    jobs = [(name, dtype) for name in MODELS for dtype in dtypes]
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        counts = _progress(as_completed([pool.submit(train, *job) for job in jobs]), len(jobs))
        compiled = sum(done.result() for done in counts)
    seconds = time.perf_counter() - began
    print(f"{compiled} kernels compiled by {workers} processes in {seconds:.1f} s; they are kept in {folder}")
    return 0


def _progress(done: Iterable[Any], total: int) -> Iterable[Any]:
    try:
        from tqdm import tqdm
    except ImportError:
        return done
    return tqdm(done, total=total, desc="compiling", unit="model")
