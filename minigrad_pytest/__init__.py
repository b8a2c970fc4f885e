"""What pytest gets where minigrad is installed: profiles, a device to test on, seeds, warm kernels, a header.

- The Hypothesis profiles `minigrad-dev` (20 examples), `minigrad-ci` (100, the same ones each time) and
  `minigrad-nightly` (1000): `pytest --hypothesis-profile=minigrad-ci`. None has a deadline, since kernels compile.
- The fixture `minigrad_device` with the option `--minigrad-device NAME` (several times for several devices).
- The marker `minigrad_warm`: before the first test that has it, the kernels that `minigrad.nn` needs are compiled, so
  that a test that times something does not time the compiler.
- The default stream of `minigrad.random` is one of those that Hypothesis seeds and puts back.

Every run of pytest on the machine imports this package, also those that have nothing to do with minigrad. So it stands
beside minigrad, and looks at minigrad and Hypothesis only once somebody else has imported them, or asks for something.
"""

import sys
from typing import Any

import pytest

PROFILES: dict[str, dict[str, Any]] = {
    "minigrad-dev": {"max_examples": 20},
    "minigrad-ci": {"max_examples": 100, "derandomize": True},
    "minigrad-nightly": {"max_examples": 1000},
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --minigrad-device."""
    group = parser.getgroup("minigrad")
    group.addoption(
        "--minigrad-device",
        action="append",
        default=None,
        metavar="NAME",
        help="a device for tests with the fixture minigrad_device; may be given several times (default: cpu)",
    )


@pytest.hookimpl(tryfirst=True)  # before Hypothesis looks for the profile
def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and the profiles where Hypothesis is used or one of them is asked for."""
    config.addinivalue_line("markers", "minigrad_warm: compile minigrad's kernels before this test")
    if "hypothesis" in sys.modules or config.getoption("--hypothesis-profile", None) in PROFILES:
        from hypothesis import settings

        for name, options in PROFILES.items():
            settings.register_profile(name, deadline=None, **options)


class _Stream:
    """The default stream of minigrad.random, as Hypothesis wants to see it: something with the methods of `random`."""

    def seed(self, seed: int) -> None:
        """Start again from a seed."""
        from minigrad import random

        random.manual_seed(abs(seed))

    def getstate(self) -> Any:
        """Where the stream is."""
        from minigrad import random

        return random.default.key, random.default.counter

    def setstate(self, state: Any) -> None:
        """Be there again."""
        from minigrad import random

        random.default.key, random.default.counter = state


_STREAM = _Stream()  # Hypothesis holds a weak reference only


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """One line on what the results depend on, where tests have imported minigrad."""
    if "minigrad" not in sys.modules:
        return []
    from importlib.metadata import version

    from minigrad.doctor import cpu_features
    from minigrad.runtime import get_num_threads

    versions = ", ".join(f"{name} {version(name)}" for name in ("minigrad", "numpy", "numba"))
    devices = ", ".join(map(_named, config.getoption("minigrad_device") or ["cpu"]))
    return [f"{versions}, {cpu_features()}, {get_num_threads()} threads, on {devices}"]


def _named(device: str) -> str:
    """A device, and which GPU (or simulator of one) it is."""
    from minigrad import cuda

    return f"{device} ({cuda.device_name()})" if device == "cuda" and cuda.is_available() else device


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests that ask for it on each device that was named."""
    if "minigrad_device" in metafunc.fixturenames:
        from minigrad import kernels

        names = metafunc.config.getoption("minigrad_device") or ["cpu"]
        unknown = [name for name in names if name not in kernels.available()]
        if unknown:
            raise pytest.UsageError(
                f"--minigrad-device {unknown[0]}: the devices here are {', '.join(kernels.available())}"
            )
        metafunc.parametrize("minigrad_device", names)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Compile before the first test that is marked for it, and have Hypothesis seed the stream."""
    if not item.config.stash.get(_SEEDED, False) and {"minigrad", "hypothesis"} <= sys.modules.keys():
        from hypothesis import register_random

        register_random(_STREAM)
        item.config.stash[_SEEDED] = True
    if item.get_closest_marker("minigrad_warm") and not item.config.stash.get(_WARM, False):
        from minigrad import warmup

        for name in warmup.MODELS:
            warmup.train(name, "float32")
        item.config.stash[_WARM] = True


_SEEDED: pytest.StashKey[bool] = pytest.StashKey()
_WARM: pytest.StashKey[bool] = pytest.StashKey()
