"""The benchmarks run and say what they should; how long anything takes is no matter here."""

import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from benchmarks import bandwidth, commands, report
from benchmarks.compare import BenchmarkError, Pace, Worker, compare
from benchmarks.suites import NAMES, find, rows
from demos.cli import run

ROOT = Path(__file__).parents[1]
FIELDS = {
    "name",
    "suite",
    "threads",
    "recorded",
    "ours_ms",
    "torch_ms",
    "ratio",
    "ours_faults",
    "torch_faults",
    "torch_layout",
    "ours_memory",
    "torch_memory",
    "peers",
    "busy",
}
SMALL = {
    "conv": "SimpleNet 2, 10->20 5x5 20x20, forward",
    "ragged": "batch 1, 3->32 3x3 64x64, input gradient",
    "pool": "max 3x3/3 10@60x60, backward",
    "norm": "BatchNorm1d 256x100, training, forward + backward",
    "elementwise": "relu(a*b+a)*0.5, 1e+05, forward + backward",
    "matmul": "32x32 @ 32x32",
    "overhead": "tiny MLP step",
    "nets": "SimpleNet",
    "startup": "import",
}
LIBRARIES = [
    (),
    pytest.param(("torch",), marks=pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="no torch")),
]


def result(name="row", suite="conv", threads=1, ratio=2.0, **more):
    torch = {"torch_ms": ratio, "torch_faults": 1.0, "torch_layout": "NCHW"} if ratio else dict.fromkeys(FIELDS)
    memory = {"ours_memory": None, "torch_memory": None}
    row = {"name": name, "suite": suite, "threads": threads, "ratio": ratio, "ours_ms": 1.0, "ours_faults": 0.0}
    return {**torch, **memory, **row, "recorded": True, "peers": {}, "busy": False, **more}


@pytest.mark.parametrize("libraries", LIBRARIES)
def test_a_row_of_each_suite_runs(libraries):
    chosen = [(suite, find(suite, name)) for suite, name in SMALL.items()]
    found = list(compare(chosen, 1, libraries, Pace(rounds=1, seconds=0.001)))
    assert [(row["suite"], row["name"]) for row in found] == list(SMALL.items())
    for row in found:
        assert row.keys() == FIELDS
        assert row["ours_ms"] > 0
        assert row["ours_faults"] >= 0
        if libraries:
            assert row["ratio"] == row["torch_ms"] / row["ours_ms"]
            assert row["torch_layout"] in ("contiguous", "NCHW", "channels_last")
        else:
            assert row["ratio"] is row["torch_ms"] is row["torch_layout"] is None
    if sys.platform == "linux":
        assert found[NAMES.index("nets")]["ours_memory"] > 2**20  # more than the pictures alone


def test_the_suites():
    assert tuple(SMALL) == NAMES
    for suite in NAMES:
        names = [row.name for row in rows(suite)]
        assert len(set(names)) == len(names) > 0


@pytest.mark.parametrize("suite", ["conv", "ragged", "pool", "norm", "elementwise", "matmul", "overhead"])
def test_both_sides_compute_the_same(torch, suite):
    compared = 0
    for row in rows(suite):
        if "1e+07" in row.name or "224" in row.name or "2048" in row.name:
            continue  # the same code as its neighbours, and slow
        ours, theirs = row.ours()(), row.torch(torch.contiguous_format)()
        if isinstance(theirs, tuple):
            (theirs,) = (part for part in theirs if part is not None)
        if isinstance(ours, mg.Tensor):
            expected = theirs.detach().numpy()
            scale = np.abs(expected).max()
            np.testing.assert_allclose(ours.detach().numpy(), expected, rtol=1e-4, atol=1e-4 * scale, err_msg=row.name)
            compared += 1
    assert compared > 3


def test_the_nets_are_those_of_the_demo_and_of_the_issue():
    from benchmarks.suites import nets
    from demos.scenes import models
    from minigrad import nn

    for name in "simplenet", "simplenet_final":
        assert repr(getattr(nets, name)(nn)) == repr(getattr(models, name)(nets.CLASSES))
    assert 0.88e6 < sum(parameter.size for parameter in nets.residual_net(nn).parameters()) < 0.92e6


def test_steps_at_other_batch_sizes(monkeypatch):
    monkeypatch.setattr(
        commands, "compare", lambda rows, *_: iter([{"suite": "nets", "name": r.name} for _, r in rows])
    )
    seen = []
    monkeypatch.setattr(report, "table", lambda results: seen.extend(r["name"] for r in results))
    commands.main(["--suite", "nets,matmul", "--match", "MLP", "--threads", "1", "--batches", "2,64"])
    assert seen == ["MLP, width 1000", "MLP, width 1000, batch 2", "MLP, width 1000, batch 64"]
    find("nets", seen[1]).ours()()


def test_the_other_process_stays_free_of_minigrad():
    code = f"import sys, benchmarks.worker\nfrom benchmarks.suites import rows\n[rows(suite) for suite in {NAMES}]\n"
    code += "print('minigrad' in sys.modules, 'torch' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert printed.split() == ["False", "False"]


def test_means_and_losses():
    group = [result("half", ratio=0.5), result("double"), result("eight", ratio=8.0), result("alone", ratio=None)]
    assert math.isclose(report.geometric_mean(r["ratio"] for r in group[:3]), 2)
    assert [r["name"] for r in report.losses(group)] == ["half"]
    text = report.table(group[:3])
    assert "geometric mean 2.00 over 3 rows, 2 ahead and 1 behind; lowest 0.50 (half)" in text
    assert "PyTorch is faster in 1 of 3 rows:\n   0.50  conv, 1 thread: half" in text


def test_the_table_without_pytorch():
    text = report.table([result("alone", ratio=None, peers={"mygrad": 3.0}, ours_memory=2**21, busy=True)])
    assert "geometric mean" not in text
    assert "mygrad: 3 ms, 3 times ours" in text
    assert "memory: ours 2 MiB" in text
    assert "-  busy\n" in text
    assert "measure these rows again" in text


def test_the_files(tmp_path):
    from PIL import Image

    results = [result(f"row {i}", suite, threads, 0.5 + i) for suite in NAMES for threads in (1, 2) for i in range(3)]
    report.write_json(tmp_path / "rows.json", results)
    written = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    assert written["rows"] == results
    assert {"cpu", "cores", "numpy"} <= written["machine"].keys()
    report.write_png(tmp_path / "rows.png", results)
    with Image.open(tmp_path / "rows.png") as picture:
        assert min(picture.size) > 300


def test_a_run_from_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(commands, "PACKAGES", ())
    options = ["--quick", "--suite", "overhead", "--threads", "1", "--match", "a + b"]
    assert run("benchmarks.commands", [*options, "--json", str(tmp_path / "rows.json")]) == 0
    (row,) = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))["rows"]
    assert row.keys() == FIELDS
    assert "overhead, 1 thread" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--suite", "conv,plumbing"], "no suite 'plumbing'; there are conv, ragged, pool"),
        (["--threads", "0"], "'0' is not whole numbers from 1 to this machine's"),
        (["--threads", "two"], "'two' is not whole numbers"),
    ],
)
def test_mistakes_get_a_sentence(options, said, capsys):
    with pytest.raises(SystemExit) as ended:
        run("benchmarks.commands", options)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_no_such_row(capsys):
    assert run("benchmarks.commands", ["--suite", "conv", "--match", "plumbing"]) == 1
    assert "--match plumbing: no row of conv has it in its name" in capsys.readouterr().err


def test_the_scene_demo_beside_its_twin(tmp_path, capfd):
    from PIL import Image

    for split in "train", "test":
        for kind, tone in ("dark", 20), ("light", 200):
            (tmp_path / split / kind).mkdir(parents=True)
            for i in range(5):
                Image.new("L", (64, 64), tone + i).save(tmp_path / split / kind / f"{i}.png")
    assert run("benchmarks.train_scenes", ["--data", str(tmp_path), "--epochs", "1", "--threads", "1"]) == 0
    lines = [line.split() for line in capfd.readouterr().out.splitlines()]
    sides = 2 if importlib.util.find_spec("torch") else 1
    assert ["seconds", "minigrad", "PyTorch"][: 1 + sides] in lines
    parts = {tuple(line[:-sides]): [float(cell) for cell in line[-sides:]] for line in lines[-5:-1]}
    for whole, *rest in zip(*(parts[name] for name in (("whole", "run"), ("pictures",), ("training",))), strict=True):
        assert whole > sum(rest) > 0


def test_a_side_that_fails_is_named():
    with Worker("ours", 1) as worker, pytest.raises(BenchmarkError, match=r"ours ended \['conv', 'no such row'\]"):
        worker.ask(load=["conv", "no such row"], layouts=["contiguous"])


def test_bandwidth_beside_a_copy(monkeypatch, capsys):
    monkeypatch.setattr(bandwidth, "median_time", lambda step, wait: step() is None or 0.001)
    assert bandwidth.main(["--bytes", "2e5"]) == 0
    _, _, head, *table = capsys.readouterr().out.splitlines()
    assert head.split() == ["ms", "GB/s", "of", "a", "copy"]
    assert [line.split("  ")[0] for line in table] == [name for name, _, _ in bandwidth.steps("cpu", 1)]
    assert table[0].endswith("100%")


def test_the_time_of_a_call_is_a_median():
    waits, calls = [], []
    seconds = bandwidth.median_time(lambda: calls.append(1), lambda: waits.append(len(calls)))
    assert 0 < seconds < 1
    assert len(waits) == 14
    assert waits[-1] == len(calls)
