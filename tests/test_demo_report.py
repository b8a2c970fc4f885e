"""The scene report: complete, self-contained, safe from its data, repeatable, written whole or not at all."""

import base64
import doctest
import io
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from demos.scenes import report
from demos.scenes.report import Hard, write_report
from minigrad.errors import DataError, ShapeError

CLASSES = ("Coast", "Forest", "Street")
CONFUSION = np.array([[8, 2, 0], [1, 4, 5], [0, 0, 0]])
SECTIONS = [
    "Learning curves",
    "Confusion matrix",
    "First-layer filters",
    "Pictures of the highest loss",
    "The run",
]
HOSTILE = '</p><script src="https://evil.example/x.js">&lt;\'"{title}$x^2$%s'
VOID = {"img", "meta"}


class Page(HTMLParser):
    """A page as flat lists, checked for balanced tags; `texts` gives what the chosen elements say."""

    def __init__(self, path):
        super().__init__()
        self.open, self.tags, self.leaves = [], [], []
        self.feed(path.read_bytes().decode())
        self.close()
        assert self.open == [], f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append((tag, dict(attributes), []))

    def handle_endtag(self, tag):
        name, attributes, text = self.open.pop()
        assert name == tag, f"<{name}> closed by </{tag}>"
        self.leaves.append((name, attributes, "".join(text)))
        if self.open:
            self.open[-1][2].extend(text)

    def handle_data(self, data):
        if self.open:
            self.open[-1][2].append(data)

    def texts(self, tag, **attributes):
        return [text for name, found, text in self.leaves if name == tag and attributes.items() <= found.items()]

    def definitions(self):
        return list(zip(self.texts("dt"), self.texts("dd"), strict=True))

    def images(self):
        return [attributes for tag, attributes in self.tags if tag == "img"]

    def pictures(self):
        prefix = "data:image/png;base64,"
        assert all(image["src"].startswith(prefix) for image in self.images())
        data = (base64.b64decode(image["src"][len(prefix) :], validate=True) for image in self.images())
        return [np.asarray(Image.open(io.BytesIO(png))) for png in data]


def contents(**changes):
    """The arguments of a small complete report, with some replaced."""
    random = np.random.default_rng(0)
    history = [
        {"epoch": e, "train_loss": 2 / e, "train_accuracy": 0.2 * e, "test_accuracy": 0.15 * e, "seconds": 1}
        for e in (1, 2, 3)
    ]
    metrics = {
        "model": "SimpleNet",
        "parameters": 56895,
        "test_accuracy": 0.4725,
        "train_accuracy": np.float32(0.75),
        "chance": 1 / 15,
        "linear_accuracy": 0.25,
        "seconds_train": 96.71834,
        "seed": 12345,
        "batch_size": np.int64(32),
    }
    hardest = [
        Hard(random.integers(0, 256, (12, 16), dtype=np.uint8), "Forest", "Coast", 9.25 - i, f"Forest/{i}.jpg")
        for i in range(10)
    ]
    return {
        "title": "SimpleNet on scenes",
        "metrics": metrics,
        "history": history,
        "confusion": CONFUSION,
        "classes": CLASSES,
        "filters": random.standard_normal((10, 5, 5)).astype(np.float32),
        "hardest": hardest,
    } | changes


def written(folder, **changes):
    path = folder / "report.html"
    write_report(path, **contents(**changes))
    return Page(path)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return written(tmp_path_factory.mktemp("report"))


def test_example_runs():
    result = doctest.testmod(report)
    assert result.attempted > 0
    assert result.failed == 0


def test_every_section_is_there(page):
    assert page.texts("h1") == page.texts("title") == ["SimpleNet on scenes"]
    assert page.texts("h2") == SECTIONS
    assert ("html", {"lang": "en"}) in page.tags


def test_nothing_comes_from_elsewhere(page):
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object", "a", "base", "form"})
    sources = [value for _, found in page.tags for key, value in found.items() if key in ("src", "href", "srcset")]
    assert len(sources) == len(page.images()) == 22
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    styles = page.texts("style") + [found.get("style", "") for _, found in page.tags]
    assert not any(word in style for style in styles for word in ("url(", "@import", "//"))
    [policy] = [found["content"] for tag, found in page.tags if tag == "meta" and "http-equiv" in found]
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_headline_compares(page):
    assert page.texts("p", **{"class": "big"}) == ["47.2%"]
    assert page.definitions()[:3] == [
        ("This network", "47.2%"),
        ("Linear classifier", "25.0%"),
        ("Chance", "6.7%"),
    ]
    assert [found["style"] for tag, found in page.tags if found.get("style", "").startswith("--share")] == [
        "--share:47.2%",
        "--share:25.0%",
        "--share:6.7%",
    ]


def test_run_shows_every_metric(page):
    assert page.definitions()[-9:] == [
        ("model", "SimpleNet"),
        ("parameters", "56,895"),
        ("test accuracy", "47.2%"),
        ("train accuracy", "75.0%"),
        ("chance", "6.7%"),
        ("linear accuracy", "25.0%"),
        ("seconds train", "96.72"),
        ("seed", "12345"),
        ("batch size", "32"),
    ]


def test_curves_are_drawn_and_described(page):
    assert [image["alt"] for image in page.images()[:2]] == [
        "Loss by epoch: training from 2.00 to 0.67",
        "Accuracy by epoch: test from 15.0% to 45.0%, training from 20.0% to 60.0%",
    ]
    for picture in page.pictures()[:2]:
        height, width, _ = picture.shape
        assert (width, height) == (960, 600)
        colours = {tuple(pixel[:3]) for pixel in picture.reshape(-1, picture.shape[-1])}
        assert (0xC2, 0x57, 0x0C) in colours


def test_accuracy_chart_shows_what_to_compare_with(tmp_path, page):
    loss, accuracy = page.pictures()[:2]
    only_chance = written(tmp_path, metrics={"chance": 1 / 15}).pictures()[:2]
    other_chance = written(tmp_path, metrics={"chance": 0.3}).pictures()[:2]
    neither = written(tmp_path, metrics={}).pictures()[:2]
    assert (loss == only_chance[0]).all()
    assert (loss == neither[0]).all()
    assert (accuracy != only_chance[1]).any()
    assert (only_chance[1] != other_chance[1]).any()
    assert (only_chance[1] != neither[1]).any()


def cells(page):
    """Both matrices as text, without the corner that stands before the first column's name."""
    k = len(CLASSES)
    return np.array(page.texts("td")).reshape(2, 1 + k * k)[:, 1:].reshape(2, k, k).tolist()


def test_confusion_raw_and_in_percent(page):
    counts, percents = cells(page)
    assert counts == [["8", "2", ""], ["1", "4", "5"], ["", "", ""]]
    assert percents == [["80", "20", ""], ["10", "40", "50"], ["", "", ""]]
    assert page.texts("th", scope="row") == page.texts("th", scope="col") == list(CLASSES) * 2
    assert page.texts("caption") == ["Pictures", "Percent of the true class"]


def test_confusion_names_the_worst_mistakes(page):
    [text] = [text for text in page.texts("p") if "mistakes" in text]
    assert text.endswith(
        "The most frequent mistakes: Forest taken for Street (5); Coast taken for Forest (2); "
        "Forest taken for Coast (1)."
    )


def test_right_answers_and_mistakes_differ_in_colour(page):
    styles = [found["style"] for tag, found in page.tags if tag == "td" and "style" in found]
    assert styles[:3] == ["background:#0f766eb4", "background:#c2570c2d", "background:#c2570c16"]


def test_perfect_classifier_has_no_mistakes(tmp_path):
    page = written(tmp_path, confusion=np.diag([3, 4, 5]).astype(np.uint8))
    [text] = [text for text in page.texts("p") if "mistakes" in text]
    assert text.endswith("The most frequent mistakes: none.")
    assert cells(page)[1] == [["100", "", ""], ["", "100", ""], ["", "", "100"]]


def test_filters_share_one_scale_with_zero_in_the_middle(tmp_path):
    filters = np.zeros((3, 5, 5), np.float32)
    filters[0, 0, 0], filters[1, 4, 4], filters[2, 2, 1] = 0.5, -1, 1
    page = written(tmp_path, filters=filters)
    first, second, third = page.pictures()[2:5]
    assert first.shape == second.shape == third.shape == (5, 5)
    assert (first[0, 0], second[4, 4], third[2, 1], first[1, 1]) == (191, 0, 255, 127)
    assert page.images()[3]["alt"] == "Filter 2: weights from -1 to 0"


@pytest.mark.parametrize("value", [0, np.nan, np.inf, 3e38])
def test_filters_of_a_broken_run(tmp_path, value):
    filters = np.full((10, 5, 5), value, np.float32)
    filters[0, 0, 0] = 0
    assert written(tmp_path, filters=filters).pictures()[2][0, 0] == 127


def test_hardest_pictures_with_labels_and_loss(page):
    hardest = contents()["hardest"]
    for picture, hard in zip(page.pictures()[12:], hardest, strict=True):
        np.testing.assert_array_equal(picture, hard.image)
    assert page.definitions()[3:6] == [("true", "Forest"), ("predicted", "Coast"), ("loss", "9.25")]
    assert [text for text in page.texts("p") if text.startswith("Forest/")] == [hard.name for hard in hardest]
    assert page.images()[12]["alt"] == "Forest, taken for Coast"


def test_predicted_label_is_marked_right_or_wrong(tmp_path):
    image = np.zeros((4, 4), np.uint8)
    page = written(tmp_path, hardest=[Hard(image, "A", "B", 1.0, "x"), Hard(image, "C", "C", 1.0, "y")])
    assert page.texts("dd", **{"class": "wrong"}) == ["B"]
    assert page.texts("dd", **{"class": "right"}) == ["C"]


def test_every_picture_has_a_description(page):
    assert all(image["alt"].strip() for image in page.images())


def test_large_photographs_leave_the_page_small(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (600, 500), dtype=np.uint8)
    page = written(tmp_path, hardest=[Hard(noise, "A", "B", 1.0, "x")] * 10)
    assert page.pictures()[-1].shape == (256, 213)
    assert (tmp_path / "report.html").stat().st_size < 1_500_000


def hostile(name):
    image = np.zeros((4, 4), np.uint8)
    return {
        "title": name,
        "metrics": {"model": name, name: name},
        "history": [],
        "classes": (name, name, name),
        "filters": None,
        "hardest": [Hard(image, name, name, 1.0, name)],
    }


def test_hostile_names_are_only_text(tmp_path):
    page, plain = written(tmp_path, **hostile(HOSTILE)), written(tmp_path, **hostile("x"))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    assert [set(found) for _, found in page.tags] == [set(found) for _, found in plain.tags]
    assert page.texts("title") == page.texts("h1") == [HOSTILE]
    assert set(page.texts("th")) == {HOSTILE}
    assert page.definitions()[-2:] == [("model", HOSTILE), (HOSTILE, HOSTILE)]
    assert page.texts("p")[-1] == HOSTILE
    assert page.images()[-1]["alt"] == f"{HOSTILE}, taken for {HOSTILE}"


@given(name=st.text(alphabet=st.characters(), max_size=30) | st.text("<>&\"'/=-! ad", max_size=30))
@settings(deadline=None, max_examples=50)
def test_any_text_is_only_text(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("any")
    page, plain = written(folder, **hostile(name)), written(folder, **hostile("x"))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    assert page.texts("p")[-1] == name.encode("utf-8", "replace").decode()


def test_undecodable_file_name(tmp_path):
    page = written(tmp_path, **hostile("caf\udce9.jpg"))
    assert page.texts("p")[-1] == "caf?.jpg"


def test_nothing_measured(tmp_path):
    page = written(tmp_path, metrics={}, history=[], filters=None, hardest=[])
    assert page.texts("h2") == SECTIONS
    assert page.texts("p", **{"class": "big"}) == ["not measured"]
    assert page.definitions() == [(label, "not measured") for label in ("This network", "Linear classifier", "Chance")]
    assert page.texts("p").count("not measured") == 3
    assert page.texts("p").count("not available") == 2
    assert page.images() == []


@pytest.mark.parametrize("missing", [None, float("nan"), np.float32("nan")])
def test_missing_metrics(tmp_path, missing):
    page = written(tmp_path, metrics={"test_accuracy": 0.5, "linear_accuracy": missing, "seconds_train": missing})
    assert page.definitions()[1] == ("Linear classifier", "not measured")
    assert page.definitions()[-1] == ("seconds train", "not measured")


@given(
    metrics=st.dictionaries(
        st.sampled_from(["test_accuracy", "chance", "parameters", "seed", "model", "seconds_train"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    )
)
@settings(deadline=None, max_examples=50)
def test_any_metrics_make_a_page(tmp_path_factory, metrics):
    page = written(tmp_path_factory.mktemp("any"), metrics=metrics, history=[], filters=None, hardest=[])
    assert [key for key, _ in page.definitions()[3:]] == [key.replace("_", " ") for key in metrics]


def test_interrupted_history(tmp_path):
    history = [
        {"epoch": None, "train_loss": None},
        {"train_loss": 2.5, "test_accuracy": None},
        {"epoch": 3, "train_loss": float("nan"), "test_accuracy": 0.25},
        {"epoch": 4, "train_loss": float("inf")},
        {},
    ]
    page = written(tmp_path, history=history)
    assert [image["alt"] for image in page.images()[:2]] == [
        "Loss by epoch: training from 2.50 to 2.50",
        "Accuracy by epoch: test from 25.0% to 25.0%",
    ]


def test_curve_without_values_says_so(tmp_path):
    page = written(tmp_path, history=[{"epoch": 1, "train_loss": None, "test_accuracy": 0.5}])
    assert page.texts("p").count("not measured") == 1
    assert page.images()[0]["alt"].startswith("Accuracy by epoch")


def test_same_content_same_bytes_whatever_the_settings(tmp_path):
    first, second = tmp_path / "first.html", tmp_path / "second.html"
    write_report(first, **contents())
    with matplotlib.rc_context({"font.size": 30, "savefig.facecolor": "red", "axes.facecolor": "blue"}):
        write_report(second, **contents())
        assert matplotlib.rcParams["font.size"] == 30
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("confusion", "shape"), [(np.zeros((2, 2), int), r"\(2, 2\)"), (np.zeros((3, 2), int), r"\(3, 2\)")]
)
def test_confusion_of_another_shape(tmp_path, confusion, shape):
    with pytest.raises(ShapeError, match=f"each of the 3 classes, its shape is {shape}"):
        written(tmp_path, confusion=confusion)
    assert list(tmp_path.iterdir()) == []


def test_failure_leaves_the_old_report(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def disk_full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", disk_full)
    with pytest.raises(DataError, match="the disk is full"):
        write_report(path, **contents())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_folder_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="its folder does not exist"):
        write_report(tmp_path / "missing" / "report.html", **contents())
