"""`python -m minigrad doctor`: what it finds, what it says of what is missing, and its exit status."""

import importlib.util
import os
import subprocess
import sys

import pytest

from minigrad import doctor
from minigrad.__main__ import main
from minigrad.kernels.cuda import libcuda, ptx
from tests.cuda_stub import UNSUPPORTED_PTX_VERSION


def lines(capsys):
    """The report, by the first word of each line."""
    return {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}


def test_without_a_gpu_it_says_so_in_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(libcuda, "NAME", "libmissing.so")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["doctor"]) == 0
    report = lines(capsys)
    assert [*report] == ["python", "cpu", "kernels", "gpu"] or "hint:" in report
    assert report["gpu"] == "gpu      no GPU: NVIDIA's driver library, libmissing.so, is not installed"
    assert doctor.cpu_features() in report["cpu"]


def test_nothing_compiled_yet(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("MINIGRAD_CACHE", str(tmp_path))
    doctor.run()
    assert f"0 kernels compiled, in {tmp_path}" in capsys.readouterr().out.replace("\n", " ")


def test_without_numba_cuda_it_has_the_line_that_installs_it(stub, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert doctor.run() == 1
    report = capsys.readouterr().out
    assert "gpu      Stub 100, compute capability 9.0, 0 GiB\ndriver   of CUDA 13.0\n" in report
    assert "hint: pip install 'numba-cuda[cu13]>=0.30,<0.31' 'cuda-toolkit==13.0.*'" in report


def test_a_driver_older_than_the_compiler(stub, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_compiler", lambda capability: "numba-cuda 0.30.4 writes PTX 9.0")
    stub.version, stub.failing["cuModuleLoadDataEx"] = 12080, UNSUPPORTED_PTX_VERSION
    assert doctor.run() == 1
    report = capsys.readouterr().out
    assert "compiler numba-cuda 0.30.4 writes PTX 9.0\n" in report
    assert "hint: pip install 'numba-cuda[cu12]>=0.30,<0.31' 'cuda-toolkit==12.8.*'" in report


def test_a_gpu_that_computes_nonsense(stub, monkeypatch, capsys):
    """The stub's kernels do nothing."""
    monkeypatch.setattr(doctor, "_compiler", lambda capability: "one")
    assert doctor.run() == 1
    assert "gave wrong numbers" in capsys.readouterr().out


def test_a_kernel_runs_in_the_simulator():
    done = subprocess.run(
        [sys.executable, "-m", "minigrad", "doctor"],
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "gpu      numba's CUDA simulator\nkernel   ran, with the right result" in done.stdout


def test_the_real_compiler():
    if importlib.util.find_spec("numba_cuda") is None:
        pytest.skip("numba-cuda is not installed")
    assert doctor._compiler_or_why((9, 0)).startswith(("numba-cuda ", "no compiler for the GPU"))
    assert ptx.versions()[0]
