"""The drawn scenes: the same for ever, different from each other, and hard for a linear classifier."""

import re
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad.data.painting import Canvas, tiles
from minigrad.data.scenes import SCENES
from minigrad.data.synthetic import synthetic_scenes
from minigrad.errors import ArgumentError


@pytest.fixture(scope="module")
def train():
    return synthetic_scenes(per_class=30)


@pytest.fixture(scope="module")
def test():
    return synthetic_scenes("test", per_class=15)


def canvas(size=(32, 32), seed=0):
    return Canvas(size, np.random.Generator(np.random.Philox(seed)))


def nearest_mean_accuracy(train_features, train_labels, test_features, test_labels):
    means = np.stack([train_features[train_labels == k].mean(0) for k in range(len(SCENES))])
    distances = ((test_features[:, None] - means) ** 2).sum(-1)
    return (distances.argmin(1) == test_labels).mean()


def edges(images):
    """The strength of edges across and down, on a grid of four by four."""
    x = images.astype(np.float32)
    slopes = [abs(x[:, 1:, :-1] - x[:, :-1, :-1]), abs(x[:, :-1, 1:] - x[:, :-1, :-1])]
    cells = np.stack([s[:, :60, :60].reshape(-1, 4, 15, 4, 15).mean((2, 4)) for s in slopes], 1)
    return (cells / cells.mean((1, 2, 3), keepdims=True)).reshape(len(images), -1)


def test_it_is_a_labelled_data_set(train):
    assert train.images.shape == (450, 64, 64)
    assert train.images.dtype == np.uint8
    assert train.labels.dtype == np.int64
    assert train.labels.tolist() == sorted(list(range(15)) * 30)
    assert train.classes == tuple(sorted(SCENES))
    assert len(set(train.paths)) == 450
    assert train.paths[31] == "train/Coast/0001"
    assert "30 pictures" in train.report


def test_default_number_of_pictures():
    assert len(synthetic_scenes("train", size=(4, 4))) == 1500
    assert len(synthetic_scenes("test", size=(4, 4))) == 750


def test_the_same_bits_on_every_machine():
    assert zlib.crc32(synthetic_scenes("test", per_class=2).images) == 2531154434


def test_a_picture_does_not_depend_on_how_many_there_are(train):
    fewer = synthetic_scenes(per_class=2)
    for label in range(15):
        np.testing.assert_array_equal(fewer.images[fewer.labels == label], train.images[train.labels == label][:2])


def test_no_picture_comes_twice(train, test):
    other_seed = synthetic_scenes(per_class=2, seed=1)
    images = [*train.images, *test.images, *other_seed.images]
    assert len({image.tobytes() for image in images}) == len(images)


@pytest.mark.parametrize("label", range(15), ids=SCENES)
def test_pictures_of_a_class_vary_everywhere(train, label):
    images = train.images[train.labels == label].astype(np.float32)
    assert images.std(0).min() > 20, "some pixel is much the same in all pictures"
    assert images.std((1, 2)).min() > 8, "some picture is almost blank"


def test_pixels_say_little_and_edges_say_more(train, test):
    pixels = nearest_mean_accuracy(
        train.images.reshape(450, -1) / 255, train.labels, test.images.reshape(225, -1) / 255, test.labels
    )
    structure = nearest_mean_accuracy(edges(train.images), train.labels, edges(test.images), test.labels)
    assert pixels < 0.25
    assert structure > pixels + 0.15


@settings(deadline=None, max_examples=15)
@given(st.tuples(st.integers(1, 40), st.integers(1, 40)), st.integers(0, 2**128 - 1))
def test_any_size_and_seed(size, seed):
    scenes = synthetic_scenes("test", per_class=1, size=size, seed=seed)
    assert scenes.images.shape == (15, *size)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"split": "validation"}, "split is 'train' or 'test', not 'validation'"),
        ({"split": ["train"]}, "split is 'train' or 'test', not ['train']"),
        ({"per_class": 0}, "per_class = 0 is not positive"),
        ({"per_class": 1.5}, "per_class = 1.5 is not an integer"),
        ({"seed": -1}, "seed = -1 is not between 0 and 2**128 - 1"),
        ({"seed": 2**128}, "is not between 0 and 2**128 - 1"),
        ({"seed": None}, "seed = None is not an integer"),
        ({"size": 64}, "size is the height and width in pixels, such as (64, 64), not 64"),
        ({"size": (0, 64)}, "size is the height and width in pixels"),
    ],
)
def test_bad_arguments(arguments, text):
    with pytest.raises(ArgumentError, match=re.escape(text)):
        synthetic_scenes(**arguments)


def test_shapes_cover_their_area():
    c = canvas((200, 200))
    assert c.box(0.5, 0.2, 0.7, 0.1).mean() == pytest.approx(0.1, abs=0.005)
    assert c.disc(0.5, 0.5, 0.3).mean() == pytest.approx(np.pi * 0.09, abs=0.005)
    assert c.disc(0.5, 0.5, 0.4, 0.1).mean() == pytest.approx(np.pi * 0.04, abs=0.005)
    assert c.trapezoid(0.5, 0.2, 0.7, 0.0, 0.4).mean() == pytest.approx(0.2, abs=0.005)
    assert tiles(4 * c.x, 4 * c.y, 0.5, 0.5).mean() == pytest.approx(0.25, abs=0.005)
    assert c.disc(0.5, 0.5, 0.3, ragged=0.7).mean() < 0.9 * c.disc(0.5, 0.5, 0.3).mean()


def test_ground_and_walls_meet_where_they_should():
    c = canvas((200, 200))
    sideways, ahead = c.ground(horizon=0.4, vanishing=0.5)
    bottom, right = -1, -1
    assert ahead[bottom, 0] == pytest.approx(1 / 0.6, rel=0.01)
    assert sideways[bottom, right] == pytest.approx(0.5 / 0.6, rel=0.01)
    along, down = c.walls(horizon=0.4, vanishing=0.5)
    assert along[0, right] == pytest.approx(2, rel=0.01)
    assert down[bottom, right] == pytest.approx(1.2, rel=0.01)


def test_noise_is_random_at_whole_points_and_smooth_in_between():
    c = canvas((256, 256))
    noise = c.noise(8 * c.x, 8 * c.y)
    assert noise.shape == c.tones.shape
    assert 0 <= noise.min() < 0.2
    assert 0.8 < noise.max() < 1
    step = 8 / 512
    assert max(abs(np.diff(noise, axis=axis)).max() for axis in (0, 1)) <= step * 1.001


def test_a_mosaic_has_one_tone_a_cell():
    c = canvas((64, 64))
    cells = c.mosaic(4 * c.x, 4 * c.y + 0 * c.x).reshape(4, 32, 4, 32)
    assert (cells == cells[:, :1, :, :1]).all()
    assert len(np.unique(cells)) == 16


def test_choices_keep_their_range():
    c = canvas()
    counts = [c.count(-2, 2) for _ in range(500)]
    assert set(counts) == {-2, -1, 0, 1, 2}
    assert all(1 <= c.pick(1, 3) < 3 for _ in range(100))
    assert 60 < sum(c.chance(0.25) for _ in range(400)) < 140
    tones = [c.palette(5) for _ in range(50)]
    assert min(np.diff(sorted(palette)).min() for palette in tones) >= 0.3 / 5 - 1e-9
    assert len({int(np.argmax(palette)) for palette in tones}) == 5


def test_a_photograph_shows_what_was_painted():
    c = canvas()
    c.fill(c.disc(0.5, 0.5, 0.25), 1.0)
    picture = c.photograph().astype(float)
    assert picture[14:18, 14:18].mean() > picture[[0, 0, -1, -1], [0, -1, 0, -1]].mean() + 100
