"""`python -m minigrad warmup`: what it has compiled, later processes need not, also where nothing can be written."""

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from minigrad import warmup
from minigrad.__main__ import main
from minigrad.kernels.cpu import cache
from minigrad.kernels.cpu.cache import cache_folder

TRAIN = """
import minigrad as mg
from demos.scenes.models import simplenet, simplenet_final
from minigrad import nn, optim
for net in simplenet, simplenet_final:
    for dtype in sys.argv[1:]:
        model = net(15).to(dtype)
        optimizer = optim.Adam(model.parameters())
        for batch in 32, 7:
            x = mg.ones((batch, 1, 64, 64), dtype=dtype)
            nn.CrossEntropyLoss()(model(x), mg.arange(batch) % 15).backward()
            optimizer.step()
from minigrad.kernels.cpu.compiler import WATCH
print(WATCH.compiled)
"""


def python(*arguments, **variables):
    return subprocess.run(
        [sys.executable, *arguments], env={**os.environ, **variables}, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def warm():
    """The output of a warm-up of the usual cache, of which other tests profit."""
    done = python("-m", "minigrad", "warmup", "--float64")
    assert done.returncode == 0, done.stderr
    return done.stdout


def train():
    return python("-c", f"import sys; sys.argv[1:] = ['float32', 'float64']\n{TRAIN}")


def test_the_end_says_what_was_done(warm):
    assert re.fullmatch(r"\d+ kernels compiled by \d+ processes in \d+\.\d s; they are kept in .+\n", warm)
    assert str(cache_folder()) in warm


def test_later_processes_compile_nothing(warm):
    with ThreadPoolExecutor(2) as threads:
        for done in threads.map(lambda _: train(), range(2)):
            assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


def test_a_cache_for_reading_only_serves(warm, tmp_path, monkeypatch):
    shutil.copytree(cache_folder(), tmp_path / cache_folder().name)
    monkeypatch.setenv("MINIGRAD_CACHE", str(tmp_path))
    folders = [tmp_path / cache_folder().name, tmp_path]
    for folder in folders:
        folder.chmod(0o555)
    try:
        assert train().stdout == "0\n"
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_all_models_train_here():
    for name in warmup.MODELS:
        assert warmup.train(name, "float32") >= 0


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MINIGRAD_CACHE", str(tmp_path / "file"))
    assert main(["warmup"]) == 1
    assert "cannot be written; MINIGRAD_CACHE names another folder" in capsys.readouterr().err


def test_the_installation_gets_kernels_of_its_own(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MINIGRAD_CACHE", "is set again after the test")
    monkeypatch.setattr(cache, "INSTALLED", tmp_path)
    monkeypatch.setattr(warmup, "MODELS", {})
    assert main(["warmup", "--installed"]) == 0
    assert f"kept in {tmp_path}" in capsys.readouterr().out


@pytest.mark.parametrize("processes", ["0", "-1", "two"])
def test_processes_are_counted_from_one(processes, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["warmup", f"--processes={processes}"])
    assert "is not a whole number of at least 1" in capsys.readouterr().err
