"""The demos, as a person runs them: what they write, what they print, how they end."""

import json
import re
import signal
import subprocess
import sys
import time
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minigrad as mg
from demos import cli
from demos.cli import run
from demos.scenes import commands, train
from demos.scenes.models import RECIPES
from demos.toy import fit
from demos.wiggle import learn
from minigrad import kernels
from minigrad.data import synthetic_scenes
from minigrad.io import load_checkpoint, save_checkpoint

ROOT = Path(__file__).parents[1]
CLASSES = ["checks", "columns", "rows"]


def stripes(kind, phase):
    y, x = np.mgrid[:64, :64] / 3 + phase
    waves = {"columns": np.sin(x), "rows": np.sin(y), "checks": np.sin(x) * np.sin(y)}[kind]
    return Image.fromarray((127 + 80 * waves).astype(np.uint8))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of 36 training and 12 test pictures."""
    root = tmp_path_factory.mktemp("pictures")
    for split, count in ("train", 12), ("test", 4):
        for kind in CLASSES:
            (root / split / kind).mkdir(parents=True)
            for i in range(count):
                stripes(kind, 0.7 * i).save(root / split / kind / f"{i}.png")
    return root


def scenes(*arguments):
    return run("demos.scenes.commands", [str(argument) for argument in arguments])


def toy(*arguments):
    return run("demos.toy.fit", [str(argument) for argument in arguments])


def metrics_of(out):
    return json.loads((out / "metrics.json").read_text(encoding="utf-8"))


def interrupt_in(monkeypatch, module, name, call):
    """Press Ctrl-C during one call of a function that the demo uses."""
    original, calls = getattr(module, name), []

    def interrupted(*args, **kwargs):
        calls.append(args)
        if len(calls) == call:
            signal.raise_signal(signal.SIGINT)
        return original(*args, **kwargs)

    monkeypatch.setattr(module, name, interrupted)


@pytest.fixture(autouse=True)
def ctrl_c():
    """Python's own answer to Ctrl-C, which a test may run without, and no other when the demo has ended."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


# ---- scenes ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=RECIPES)
def trained(request, pictures, tmp_path_factory):
    """A training of three epochs, and its folder."""
    out = tmp_path_factory.mktemp("trained") / request.param
    assert scenes("--data", pictures, "--model", request.param, "--epochs", 3, "--seed", 5, "--out", out) == 0
    return request.param, out


def test_metrics(trained, pictures):
    model, out = trained
    metrics = metrics_of(out)
    assert {*metrics} == {
        *("model", "data", "parameters", "epochs", "test_accuracy", "train_accuracy", "linear_accuracy", "chance"),
        *(
            "batch_size",
            "lr",
            "seed",
            "device",
            "threads",
            "seconds_decode",
            "seconds_train",
            "seconds_total",
            "history",
        ),
    }
    assert metrics["model"] == model
    assert metrics["data"] == str(pictures)
    assert metrics["seed"] == 5
    assert metrics["lr"] == RECIPES[model].lr
    assert metrics["chance"] == pytest.approx(1 / 3)
    assert [epoch["epoch"] for epoch in metrics["history"]] == [1, 2, 3]
    assert metrics["epochs"] == 3
    for key in "train_accuracy", "test_accuracy":
        assert metrics[key] == metrics["history"][-1][key]
    assert 0 < metrics["seconds_train"] < metrics["seconds_total"] < 60
    assert metrics["history"][-1]["train_loss"] < metrics["history"][0]["train_loss"]


def test_parameters():
    simplenet = RECIPES["simplenet"].model(15)
    assert sum(p.size for p in simplenet.parameters()) == 56_895
    final = RECIPES["simplenet-final"].model(15)
    assert sum(p.size for p in final.parameters()) <= 60_000


def test_report_and_checkpoint_are_there(trained):
    model, out = trained
    assert {path.name for path in out.iterdir()} == {"checkpoint.npz", "metrics.json", "report.html"}
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.rstrip().endswith("</html>")
    assert model in page
    assert page.count("data:image/png") >= 2 + 10 + 10


def test_what_the_report_is_given(pictures, tmp_path, monkeypatch):
    given = {}
    monkeypatch.setattr(commands, "write_report", lambda path, **facts: given.update(facts, path=path))
    assert scenes("--data", pictures, "--epochs", 1, "--out", tmp_path) == 0
    assert given["path"] == tmp_path / "report.html"
    assert given["classes"] == CLASSES
    assert given["filters"].shape == (10, 5, 5)
    confusion = given["confusion"]
    assert confusion.sum(axis=1).tolist() == [4, 4, 4]
    assert np.trace(confusion) / confusion.sum() == pytest.approx(metrics_of(tmp_path)["test_accuracy"])
    hardest = given["hardest"]
    assert len(hardest) == 10
    assert all(a.loss >= b.loss for a, b in pairwise(hardest))
    for picture in hardest:
        assert picture.name.split("/")[1] == picture.label
        assert np.array_equal(picture.image, np.asarray(Image.open(pictures / picture.name)))
    assert sum(h.label != h.predicted for h in hardest) == min(10, confusion.sum() - np.trace(confusion))


def test_the_confusion_matrix_has_a_row_for_each_true_class(pictures, tmp_path, monkeypatch):
    given = {}
    monkeypatch.setattr(commands, "write_report", lambda path, **facts: given.update(facts))
    monkeypatch.setattr(commands, "predict", lambda model, data, *_: mg.tensor([[1.0, 0.0, 0.0]] * len(data)))
    assert scenes("--data", pictures, "--epochs", 1, "--out", tmp_path) == 0
    assert given["confusion"].tolist() == [[4, 0, 0], [4, 0, 0], [4, 0, 0]]
    assert {picture.predicted for picture in given["hardest"]} == {"checks"}


def test_each_epoch_has_an_order_of_its_own(pictures, tmp_path, monkeypatch):
    orders = []
    original = train.learn
    monkeypatch.setattr(
        train, "learn", lambda *args: orders.append([y.tolist() for _, y in args[2]]) or original(*args)
    )
    assert scenes("--data", pictures, "--epochs", 2, "--out", tmp_path) == 0
    assert orders[0] != orders[1]


def test_table(pictures, tmp_path, capsys):
    assert scenes("--data", pictures, "--epochs", 1, "--out", tmp_path) == 0
    printed = capsys.readouterr().out
    metrics = metrics_of(tmp_path)
    assert "36 images read" in printed
    for row, key in ("network", "test_accuracy"), ("linear classifier", "linear_accuracy"), ("chance", "chance"):
        assert re.search(rf"{row} +{metrics[key]:.1%}", printed)
    assert printed.rstrip().endswith(f"report: {tmp_path / 'report.html'}")


def test_drawn_scenes_are_the_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(commands, "synthetic_scenes", lambda split, size: synthetic_scenes(split, per_class=2))
    assert scenes("--epochs", 1) == 0
    metrics = metrics_of(tmp_path / "runs" / "scenes")
    assert metrics["chance"] == pytest.approx(1 / 15)
    assert metrics["parameters"] == 56_895


def test_predict(trained, pictures, capsys):
    _, out = trained
    images = [pictures / "test" / kind / "1.png" for kind in CLASSES]
    assert scenes("predict", out / "checkpoint.npz", *images) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == list(map(str, images))
    for i in range(3):
        answers = [line.split() for line in lines[4 * i + 1 : 4 * i + 4]]
        shares = [float(share.rstrip("%")) for share, _ in answers]
        assert sorted(name for _, name in answers) == CLASSES
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(100, abs=0.2)


def test_predictions_are_those_of_the_training(trained, pictures, capsys):
    _, out = trained
    images = sorted((pictures / "test").glob("*/*.png"))
    assert scenes("predict", out / "checkpoint.npz", *images) == 0
    lines = capsys.readouterr().out.splitlines()
    right = sum(lines[4 * i + 1].split()[1] == image.parent.name for i, image in enumerate(images))
    assert right / len(images) == pytest.approx(metrics_of(out)["test_accuracy"])


def without_seconds(history):
    return [{key: value for key, value in epoch.items() if key != "seconds"} for epoch in history]


def assert_same_training(out, other):
    tensors, metadata = load_checkpoint(out / "checkpoint.npz")
    others, other_metadata = load_checkpoint(other / "checkpoint.npz")
    for saved in metadata, other_metadata:
        saved["history"] = without_seconds(saved["history"])
    assert metadata == other_metadata
    assert {*tensors} == {*others}
    for name, tensor in tensors.items():
        assert tensor.numpy().tobytes() == others[name].numpy().tobytes(), name


def test_interrupted_and_resumed_is_the_same_to_the_bit(trained, pictures, tmp_path, monkeypatch, capsys):
    model, whole = trained
    arguments = ("--data", pictures, "--model", model, "--epochs", 3, "--seed", 5, "--out", tmp_path)
    with monkeypatch.context() as patch:
        interrupt_in(patch, train, "learn", 1)
        assert scenes(*arguments) == 130
    assert "interrupted after epoch 1 of 3" in capsys.readouterr().out
    assert metrics_of(tmp_path)["epochs"] == 1
    assert (tmp_path / "report.html").exists()
    mg.manual_seed(99)  # whatever else was drawn since
    assert scenes(*arguments, "--resume") == 0
    assert_same_training(tmp_path, whole)
    assert without_seconds(metrics_of(tmp_path)["history"]) == without_seconds(metrics_of(whole)["history"])


def test_another_seed_is_another_training(pictures, tmp_path):
    for seed in 1, 2:
        assert scenes("--data", pictures, "--epochs", 1, "--seed", seed, "--out", tmp_path / str(seed)) == 0
    first, second = (load_checkpoint(tmp_path / str(seed) / "checkpoint.npz")[0] for seed in (1, 2))
    assert not np.array_equal(first["model.0.weight"].numpy(), second["model.0.weight"].numpy())


def test_resume_with_other_settings_is_refused(trained, pictures, tmp_path, capsys):
    model, out = trained
    before = (out / "checkpoint.npz").read_bytes()
    assert scenes("--data", pictures, "--model", model, "--seed", 6, "--out", out, "--resume") == 1
    assert re.search(r"error: --resume: the seed of .* is 5, not 6\n", capsys.readouterr().err)
    assert (out / "checkpoint.npz").read_bytes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send Ctrl-C to one process")
def test_ctrl_c_in_a_terminal(pictures, tmp_path):
    command = [sys.executable, "-m", "demos.scenes", "--data", pictures, "--epochs", "100000", "--out", tmp_path]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "checkpoint.npz").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        printed, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    epochs = metrics_of(tmp_path)["epochs"]
    assert 1 <= epochs < 100_000
    assert f"interrupted after epoch {epochs} of 100000" in printed
    _, metadata = load_checkpoint(tmp_path / "checkpoint.npz")
    assert len(metadata["history"]) == epochs


def test_the_second_ctrl_c_ends_at_once(pictures, tmp_path, monkeypatch, capsys):
    interrupt_in(monkeypatch, train, "learn", 2)
    interrupt_in(monkeypatch, train, "predict", 2)
    assert scenes("--data", pictures, "--epochs", 5, "--out", tmp_path) == 130
    assert capsys.readouterr().err.endswith("error: interrupted\n")
    _, metadata = load_checkpoint(tmp_path / "checkpoint.npz")
    assert len(metadata["history"]) == 1


def test_ctrl_c_before_the_training(pictures, tmp_path, monkeypatch, capsys):
    interrupt_in(monkeypatch, commands, "image_folder", 1)
    assert scenes("--data", pictures, "--out", tmp_path) == 130
    assert capsys.readouterr().err.endswith("error: interrupted\n")


# ---- mistakes --------------------------------------------------------------------------------------------------------


def assert_one_sentence(capsys, pattern):
    """The last line of stderr, below any progress bar, is the one that says what is wrong."""
    errors = capsys.readouterr().err
    assert "Traceback" not in errors
    *bars, last = errors.rstrip("\n").splitlines()
    assert last.startswith("error: ")
    assert re.search(pattern, last)
    assert not [line for line in bars if line and "reading" not in line and "batch" not in line]


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        (["--epochs", "0"], r"--epochs: '0' is no whole number from 1 up"),
        (["--epochs", "many"], r"--epochs: 'many'"),
        (["--batch-size", "-1"], r"--batch-size"),
        (["--lr", "nan"], r"--lr: 'nan' is no positive number"),
        (["--lr", "0"], r"--lr"),
        (["--seed", "-1"], r"--seed"),
        (["--model", "resnet"], r"--model: invalid choice: 'resnet'"),
        (["--nonsense"], r"--nonsense"),
        (["predict"], r"CHECKPOINT"),
        (["predict", "checkpoint.npz"], r"IMAGE"),
    ],
)
def test_bad_arguments(arguments, pattern, capsys):
    with pytest.raises(SystemExit, match="2"):
        scenes(*arguments)
    assert_one_sentence(capsys, pattern)


def test_too_many_threads(pictures, tmp_path, capsys):
    assert scenes("--data", pictures, "--threads", 10_000, "--out", tmp_path) == 1
    assert_one_sentence(capsys, r"count must be an integer from 1 to \d+, .*; not 10000")


def test_data_that_are_not_there(tmp_path, capsys):
    assert scenes("--data", tmp_path / "nowhere", "--out", tmp_path) == 1
    assert_one_sentence(capsys, "there is no file or folder .*nowhere")


def test_data_without_a_test_split(pictures, tmp_path, capsys):
    assert scenes("--data", pictures / "train", "--out", tmp_path) == 1
    assert_one_sentence(capsys, "no split 'train'|no images")


def test_corrupt_archive(pictures, tmp_path, capsys):
    path = tmp_path / "scenes.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for image in pictures.rglob("*.png"):
            archive.write(image, image.relative_to(pictures))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert scenes("--data", path, "--out", tmp_path) == 1
    assert_one_sentence(capsys, "scenes.zip.* intact zip archive")


def test_a_file_in_the_place_of_the_folder(pictures, tmp_path, capsys):
    (tmp_path / "file").write_text("here")
    assert scenes("--data", pictures, "--out", tmp_path / "file") == 1
    assert_one_sentence(capsys, "cannot make the folder")


def test_divergence(pictures, tmp_path, capsys):
    assert scenes("--data", pictures, "--lr", "1e30", "--epochs", 3, "--out", tmp_path) == 1
    assert_one_sentence(capsys, "diverged; try a smaller --lr")


def test_resume_from_nothing(pictures, tmp_path, capsys):
    assert scenes("--data", pictures, "--out", tmp_path, "--resume") == 1
    assert_one_sentence(capsys, "cannot read .*checkpoint.npz")


def test_predict_with_bad_files(trained, pictures, tmp_path, capsys):
    _, out = trained
    image = pictures / "test" / "rows" / "1.png"
    assert scenes("predict", image, image) == 1
    assert_one_sentence(capsys, "1.png is no checkpoint")
    assert scenes("predict", out / "checkpoint.npz", tmp_path / "none.jpg") == 1
    assert_one_sentence(capsys, "none.jpg")
    save_checkpoint(tmp_path / "other.npz", {"x": np.ones(2)}, {"plan": 3})
    assert scenes("predict", tmp_path / "other.npz", image) == 1
    assert_one_sentence(capsys, "other.npz is no checkpoint of this demo")


@pytest.mark.parametrize(
    ("key", "value"),
    [("model", "resnet"), ("model", []), ("classes", 3), ("classes", ["a"]), ("mean", "x"), ("seed", -1), ("more", 1)],
)
def test_predict_with_a_forged_plan(trained, pictures, tmp_path, key, value, capsys):
    tensors, metadata = load_checkpoint(trained[1] / "checkpoint.npz")
    metadata["plan"][key] = value
    save_checkpoint(tmp_path / "forged.npz", tensors, metadata)
    assert scenes("predict", tmp_path / "forged.npz", pictures / "test" / "rows" / "1.png") == 1
    assert_one_sentence(capsys, "is no checkpoint of this demo")


def test_a_missing_package(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "demos.toy.fit", None)
    monkeypatch.setattr(cli, "EXTRAS", ("demos.toy.fit",))
    assert toy() == 1
    assert_one_sentence(capsys, re.escape("pip install -e '.[demos]'"))


def test_from_the_shell(tmp_path):
    command = [sys.executable, "-m", "demos.scenes", "predict", str(tmp_path / "none.npz"), "x.jpg"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert re.fullmatch(r"error: cannot read .*none.npz: no such file or directory\n", ended.stderr)


# ---- the toy ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", fit.TARGETS)
def test_toy(target, tmp_path, capsys):
    arguments = ("--target", target, "--layers", 2, "--hidden", 20, "--steps", 60, "--out", tmp_path)
    assert toy(*arguments) == 0
    metrics = metrics_of(tmp_path)
    assert metrics["target"] == target
    assert metrics["steps"] == 60
    assert metrics["parameters"] == 20 + 20 + 400 + 20 + 20 + 1
    assert 0 < metrics["final_mse"] < 1
    printed = capsys.readouterr()
    assert f"mean squared error {metrics['final_mse']:.1e} after 60 steps" in printed.out
    assert "60/60" in printed.err
    with Image.open(tmp_path / "fit.png") as image:
        assert image.width > image.height > 400
    assert toy(*arguments) == 0
    assert metrics_of(tmp_path)["final_mse"] == metrics["final_mse"]


def test_toy_learns(tmp_path):
    errors = []
    for steps in 1, 400:
        assert toy("--steps", steps, "--out", tmp_path) == 0
        errors.append(metrics_of(tmp_path)["final_mse"])
    assert errors[1] < errors[0] / 20


def test_toy_interrupted(tmp_path, monkeypatch):
    interrupt_in(monkeypatch, fit.nn, "mse_loss", 7)
    assert toy("--hidden", 10, "--steps", 10**6, "--out", tmp_path) == 130
    assert metrics_of(tmp_path)["steps"] == 7
    assert (tmp_path / "fit.png").exists()


def test_toy_diverges(tmp_path, capsys):
    assert toy("--lr", "1e10", "--steps", 50, "--out", tmp_path) == 1
    assert "diverged; try a smaller --lr" in capsys.readouterr().err.splitlines()[-1]


# ---- wiggling --------------------------------------------------------------------------------------------------------


def wiggle(*arguments):
    return run("demos.wiggle.learn", [str(argument) for argument in arguments])


@pytest.fixture
def small(monkeypatch):
    """Networks whose backward is quickly measured."""
    monkeypatch.setattr(learn, "WIDTHS", (5, 8))


def test_wiggle(small, tmp_path, capsys):
    arguments = ("--hidden", 4, "--steps", 12, "--lr", 0.05, "--step", 0.02, "--out", tmp_path)
    assert wiggle(*arguments) == 0
    metrics, weights = metrics_of(tmp_path), 2 * 4 + 4 * 5 + 5
    assert metrics["weights"] == weights
    assert metrics["gradient_error"] < 1e-4
    assert {*metrics["backward_multiple"]} == {"4", "5", "8"}
    assert all(0.1 < multiple < 30 for multiple in metrics["backward_multiple"].values())
    ways = metrics["ways"]
    assert [ways[way]["steps"] for way in ("signs", "differences", "backpropagation")] == [12, 12, 12]
    assert ways["signs"]["cost"] == 12 * 2 * weights
    assert ways["differences"]["cost"] == 12 * (weights + 1)
    assert ways["backpropagation"]["cost"] == pytest.approx(12 * (1 + metrics["backward_multiple"]["4"]))
    assert ways["differences"]["loss"] == pytest.approx(ways["backpropagation"]["loss"], rel=1e-3)
    assert max(way["loss"] for way in ways.values()) < 0.9 * metrics["first_loss"], "every way has learnt something"
    printed = capsys.readouterr()
    assert f"a gradient of {weights} weights costs {weights + 1} forward passes by differences" in printed.out
    assert "36/36" in printed.err
    with Image.open(tmp_path / "wiggle.png") as image:
        assert image.width > 2 * image.height > 600


def test_wiggle_interrupted(small, tmp_path, monkeypatch):
    interrupt_in(monkeypatch, learn, "backpropagation", 4)
    assert wiggle("--hidden", 2, "--steps", 10, "--out", tmp_path) == 130
    assert metrics_of(tmp_path)["ways"]["backpropagation"]["steps"] == 3
    assert (tmp_path / "wiggle.png").exists()


def test_wiggle_diverges(small, tmp_path, capsys):
    assert wiggle("--hidden", 2, "--lr", "1e200", "--steps", 5, "--out", tmp_path) == 1
    assert "diverged; try a smaller --lr" in capsys.readouterr().err.splitlines()[-1]


def test_list_of_demos():
    ended = subprocess.run(
        [sys.executable, "-m", "demos"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    rows = [line.split("  ") for line in ended.stdout.splitlines() if line.startswith("python -m")]
    assert [row[0] for row in rows] == ["python -m demos.scenes", "python -m demos.toy", "python -m demos.wiggle"]
    assert all(row[-1].endswith(".") for row in rows)


@pytest.mark.skipif("cuda" in kernels.available(), reason="this machine has a GPU")
@pytest.mark.parametrize("demo", [toy, scenes])
def test_a_device_that_is_not_there(demo, tmp_path, capsys):
    assert demo("--device", "cuda", "--out", tmp_path) == 1
    assert capsys.readouterr().err.startswith("error: no GPU")
