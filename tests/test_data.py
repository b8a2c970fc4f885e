"""Reading images, splitting and batching them, and their random changes."""

import io
import itertools
import os
import re
import stat
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from minigrad import data
from minigrad.creation import asarray
from minigrad.data import sources
from minigrad.errors import ArgumentError, DataError, DtypeError, IndexingError, MinigradError, ShapeError
from minigrad.random import Generator


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def flat(level, kind="PNG"):
    return encoded(Image.new("L", (12, 10), level), kind)


def textured(height=40, width=56, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)


def write_folder(root, files):
    for name, contents in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents)
    return root


def write_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, contents in files.items():
            archive.writestr(name, contents)
    return path


@pytest.fixture(params=["folder", "zip"])
def store(request, tmp_path):
    """Writes files, by name, as a folder or an archive."""
    if request.param == "zip":
        return lambda files: write_zip(tmp_path / "scenes.zip", files)
    return lambda files: write_folder(tmp_path / "scenes", files)


# Layouts, classes and what is ignored


@pytest.mark.parametrize("prefix", ["", "wrapped/", "twice/wrapped/"])
@pytest.mark.parametrize("split", [None, "Train"])
def test_layouts(store, prefix, split):
    files = {
        "LivingRoom/b.jpg": flat(20, "JPEG"),
        "LivingRoom/a.PNG": flat(10),
        "coast/z.bmp": flat(30, "BMP"),
    }
    if split is not None:
        files = {f"{split}/{name}": contents for name, contents in files.items()} | {"TEST/coast/a.png": flat(99)}
    dataset = data.image_folder(
        store({prefix + name: contents for name, contents in files.items()}),
        split=split and "tRAIN",
        size=(6, 8),
    )
    inner = prefix + (f"{split}/" if split else "")
    assert dataset.images.shape == (3, 6, 8)
    assert dataset.images.dtype == np.uint8
    assert dataset.images[:, 3, 3].tolist() == [30, 10, 20]
    assert dataset.labels.dtype == np.int64
    assert dataset.labels.tolist() == [0, 1, 1]
    assert dataset.classes == ("coast", "LivingRoom")
    assert dataset.paths == (f"{inner}coast/z.bmp", f"{inner}LivingRoom/a.PNG", f"{inner}LivingRoom/b.jpg")
    assert "3 images read, 2 classes, 0 other files ignored, 0 not read" in dataset.report


def test_classes_match_in_any_letter_case(store):
    names = (
        "train/tallbuilding/1.png",
        "train/Beach/1.png",
        "test/TallBuilding/1.png",
        "test/TALLBUILDING/2.png",
    )
    source = store(dict.fromkeys(names, flat(1)))
    train = data.image_folder(source, split="train")
    test = data.image_folder(source, split="test", classes=train.classes)
    assert train.classes == test.classes == ("Beach", "tallbuilding")
    assert set(test.labels.tolist()) == {1}
    assert len(data.image_folder(source, split="test").classes) == 1


def test_spellings_of_a_class_in_one_archive_are_one_class(tmp_path):
    names = ("coast/1.png", "Coast/2.png", "forest/3.png")
    dataset = data.image_folder(write_zip(tmp_path / "a.zip", dict.fromkeys(names, flat(1))))
    assert dataset.classes == ("Coast", "forest")
    assert dataset.labels.tolist() == [0, 0, 1]


def test_known_classes_give_the_order(store):
    source = store({"coast/1.png": flat(1), "forest/1.png": flat(2)})
    dataset = data.image_folder(source, classes=["Street", "Forest", "Coast"])
    assert dataset.classes == ("Street", "Forest", "Coast")
    assert dataset.labels.tolist() == [1, 2]
    assert dataset.images[:, 0, 0].tolist() == [2, 1]


def test_classes_with_composed_and_decomposed_accents_match(tmp_path):
    source = write_zip(tmp_path / "a.zip", {"train/K\u00fcche/1.png": flat(1), "test/Ku\u0308che/1.png": flat(1)})
    train = data.image_folder(source, split="train")
    assert data.image_folder(source, split="test", classes=train.classes).labels.tolist() == [0]


def test_an_unknown_class_is_named(store):
    source = store({"coast/1.png": flat(1), "Glacier/1.png": flat(1)})
    with pytest.raises(DataError, match=r"the class 'Glacier', which is not one of 'Coast', 'Forest'"):
        data.image_folder(source, classes=("Coast", "Forest"))
    with pytest.raises(ArgumentError, match="differ in letter case only"):
        data.image_folder(source, classes=("Coast", "coast", "glacier"))


def test_stray_files_are_ignored_and_counted(store):
    strays = ("README", "notes.txt", "coast/Thumbs.db", ".DS_Store", "coast/._1.png", "__MACOSX/coast/1.png")
    dataset = data.image_folder(store({"coast/1.png": flat(1)} | dict.fromkeys(strays, b"x")))
    assert len(dataset) == 1
    assert "6 other files ignored, 0 not read" in dataset.report


def test_images_outside_the_class_folders_are_reported(store):
    names = ("all/preview.png", "all/coast/1.png", "all/coast/2.png")
    dataset = data.image_folder(store(dict.fromkeys(names, flat(1))))
    assert dataset.paths == names[1:]
    assert "1 not read\n  'all/preview.png': it does not lie directly in a class folder" in dataset.report


def test_a_picture_beside_the_class_folders_makes_no_class(store):
    dataset = data.image_folder(store(dict.fromkeys(("cat/1.png", "dog/1.png", "overview.png"), flat(1))))
    assert dataset.classes == ("cat", "dog")
    assert dataset.labels.tolist() == [0, 1]
    assert "1 not read\n  'overview.png': it does not lie directly in a class folder" in dataset.report


def test_unreadable_images_are_reported(store):
    picture = encoded(Image.fromarray(textured()), "JPEG")
    broken = {
        "empty.jpg": (b"", "the file is empty"),
        "garbage.jpg": (b"no image", "it is no image of a known format"),
        "strange.jpg": (encoded(Image.fromarray(textured()), "PCX"), "it is no image of a known format"),
        "truncated.jpg": (picture[: len(picture) // 2], "it cannot be decoded: .*truncated"),
    }
    files = {f"coast/{name}": contents for name, (contents, _) in broken.items()}
    dataset = data.image_folder(store(files | {"coast/good.jpg": picture}))
    assert dataset.paths == ("coast/good.jpg",)
    headline, *lines = dataset.report.splitlines()
    assert headline.endswith("1 images read, 1 classes, 0 other files ignored, 4 not read")
    for line, (name, (_, reason)) in zip(lines, broken.items(), strict=True):
        assert re.search(f"'coast/{name}': {reason}", line)


def test_only_the_first_reasons_are_shown(store):
    files = {f"coast/{i}.png": b"" for i in range(9)} | {"coast/good.png": flat(1)}
    lines = data.image_folder(store(files)).report.splitlines()
    assert lines[1:] == [f"  'coast/{i}.png': the file is empty" for i in range(5)] + ["  and 4 more"]


def test_progress_counts_every_image(store):
    calls = []
    files = {f"coast/{i}.png": flat(i) for i in range(4)} | {"coast/bad.png": b""}
    data.image_folder(store(files), progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 5) for done in range(1, 6)]


# Sources that cannot be used


def test_a_missing_source(tmp_path):
    (tmp_path / "scenes.zip").touch()
    with pytest.raises(DataError, match=r"there is no file or folder '.*scene.zip'; '.*' holds 'scenes.zip'"):
        data.image_folder(tmp_path / "scene.zip")
    with pytest.raises(DataError, match="there is no file or folder"):
        data.image_folder(tmp_path / "a" / "b")


def test_a_file_that_is_no_archive(tmp_path):
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(DataError, match="neither a folder nor an intact zip archive"):
        data.image_folder(tmp_path / "notes.txt")


TWO_SPLITS = {"train/coast/1.png": b"", "test/coast/1.png": b""}
TWO_TRAINS = {"a/train/coast/1.png": b"", "b/train/coast/1.png": b""}


@pytest.mark.parametrize(
    ("files", "split", "found"),
    [
        ({}, None, "has no images in class folders; it holds nothing"),
        ({"notes.txt": b"", "a.png": b""}, None, "it holds 'a.png', 'notes.txt'"),
        (TWO_SPLITS, None, "has class folders in 'test', 'train'; choose one with split="),
        (TWO_SPLITS, "val", "has no split 'val'; its class folders lie in 'test', 'train'"),
        (TWO_TRAINS, "train", "in 'a/train', 'b/train'; move the others away"),
        ({"coast/1.png": b""}, None, "not one image can be read from .*: 0 images read, 1 classes"),
    ],
)
def test_a_source_without_a_data_set(store, tmp_path, files, split, found):
    (tmp_path / "scenes").mkdir()
    with pytest.raises(DataError, match=found):
        data.image_folder(store(files), split=split)


@pytest.mark.parametrize("size", [64, (0, 4), (4,), (4.0, 4.0), (True, 4), None])
def test_a_size_that_is_none(tmp_path, size):
    with pytest.raises(ArgumentError, match="size is the height and width"):
        data.image_folder(tmp_path, size=size)


# Nothing in a source is trusted


@pytest.mark.parametrize(
    "name", ["../coast/1.png", "/coast/1.png", "coast/../../1.png", "C:/coast/1.png", "..\\coast\\1.png"]
)
def test_paths_out_of_an_archive_are_not_read(tmp_path, name):
    source = write_zip(tmp_path / "a.zip", {name: flat(1), "coast/good.png": flat(2)})
    dataset = data.image_folder(source)
    assert dataset.paths == ("coast/good.png",)
    assert "1 not read" in dataset.report
    assert "its path leads out of the archive" in dataset.report


def test_archives_with_backslashes_or_dots_in_their_paths(tmp_path):
    names = ("train\\coast\\1.png", "./train/coast/2.png", "train\\forest\\", ".")
    dataset = data.image_folder(write_zip(tmp_path / "a.zip", dict.fromkeys(names, flat(1))), split="train")
    assert dataset.paths == ("train/coast/1.png", "train/coast/2.png")


def test_links_in_an_archive_are_not_followed(tmp_path):
    (tmp_path / "secret.png").write_bytes(flat(9))
    link = zipfile.ZipInfo("coast/link.png")
    link.create_system = 3
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, str(tmp_path / "secret.png"))
        archive.writestr("coast/good.png", flat(1))
    dataset = data.image_folder(tmp_path / "a.zip")
    assert dataset.paths == ("coast/good.png",)
    assert "'coast/link.png': it is a symbolic link" in dataset.report


def test_links_out_of_a_folder_are_not_followed(tmp_path):
    outside = write_folder(tmp_path / "outside", {"1.png": flat(9)})
    inside = write_folder(tmp_path / "inside", {"coast/1.png": flat(1)})
    try:
        (inside / "coast" / "2.png").symlink_to(outside / "1.png")
        (inside / "forest").symlink_to(outside, target_is_directory=True)
        (inside / "again").symlink_to(inside / "coast", target_is_directory=True)
        (inside / "coast" / "3.png").symlink_to(inside / "coast" / "1.png")
        (inside / "coast" / "4.png").symlink_to(inside / "coast" / "nothing.png")
    except OSError:
        pytest.skip("this system makes no symbolic links")
    dataset = data.image_folder(inside)
    assert dataset.paths == ("coast/1.png", "coast/3.png")
    assert dataset.report.splitlines()[1:] == [
        "  'again': it is no ordinary file or folder",
        "  'coast/2.png': it is a link out of the folder",
        "  'coast/4.png': it is no ordinary file or folder",
        "  'forest': it is a link out of the folder",
    ]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_are_not_opened(tmp_path):
    write_folder(tmp_path, {"coast/1.png": flat(1)})
    os.mkfifo(tmp_path / "coast" / "2.png")
    assert "'coast/2.png': it is no ordinary file" in data.image_folder(tmp_path).report


def test_files_that_unpack_too_far_are_refused(store, monkeypatch):
    monkeypatch.setattr(sources, "MAX_FILE_BYTES", 2**20)
    dataset = data.image_folder(store({"coast/1.png": flat(1), "coast/2.png": bytes(2**20 + 1)}))
    assert "1 not read\n  'coast/2.png': the file has more than 1 MiB" in dataset.report


def test_images_with_too_many_pixels_are_refused(store):
    def chunk(kind, contents):
        body = kind + contents
        return struct.pack(">I", len(contents)) + body + struct.pack(">I", zlib.crc32(body))

    for side in (2**13 + 1, 2**15):  # Pillow itself would take the first, and refuse the second
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
        bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
        dataset = data.image_folder(store({"coast/1.png": flat(1), "coast/2.png": bomb}))
        assert dataset.paths == ("coast/1.png",)
        assert "pixels" in dataset.report


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressions_without_a_limit_are_refused(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("coast/1.png", flat(1))
        archive.writestr("coast/2.png", flat(1), compress_type=method)
    report = data.image_folder(tmp_path / "a.zip").report
    assert "'coast/2.png': its compression is not the usual one" in report


def test_damaged_and_locked_members_are_reported(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"coast/1.png": flat(1), "coast/2.png": flat(2), "coast/3.png": flat(3)})
    contents = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo("coast/2.png").header_offset
    contents[offset + 30 + len("coast/2.png") + 5] ^= 0xFF
    entry = contents.rindex(b"coast/3.png") - 46
    contents[entry + 8] |= 1  # the flag of an encrypted member
    path.write_bytes(contents)
    dataset = data.image_folder(path)
    assert dataset.paths == ("coast/1.png",)
    assert dataset.report.count("the archive cannot give the file") == 2


SMALL_ARCHIVE = {"train/coast/1.png": flat(1), "train/forest/1.jpg": flat(200, "JPEG"), "README": b"text"}


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_no_damage_to_an_archive_escapes_as_another_error(draw):
    with tempfile.TemporaryDirectory() as folder:
        path = write_zip(Path(folder, "a.zip"), SMALL_ARCHIVE)
        contents = bytearray(path.read_bytes())
        for _ in range(draw.draw(st.integers(1, 4))):
            contents[draw.draw(st.integers(0, len(contents) - 1))] = draw.draw(st.integers(0, 255))
        path.write_bytes(contents[: draw.draw(st.integers(len(contents) // 2, 2 * len(contents)))])
        try:
            dataset = data.image_folder(path, size=(4, 4))
        except DataError:
            return
        assert dataset.images.shape == (len(dataset), 4, 4)


# Decoding


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "PPM"])
def test_grey_levels_survive_every_lossless_format(kind):
    levels = textured()
    assert np.array_equal(data.read_image(io.BytesIO(encoded(Image.fromarray(levels), kind)), levels.shape), levels)


def test_colours_become_luma():
    colours = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    image = data.read_image(io.BytesIO(encoded(Image.fromarray(colours))), (20, 30))
    assert np.abs(image - colours @ [0.299, 0.587, 0.114]).max() <= 1
    inks = encoded(Image.fromarray(colours).convert("CMYK"), "TIFF")
    assert np.abs(data.read_image(io.BytesIO(inks), (20, 30)) - image.astype(int)).max() <= 1


@pytest.mark.parametrize("mode", ["RGB", "P", "1"])
def test_palettes_and_bits(mode):
    image = Image.fromarray(textured()).convert(mode)
    expected = np.asarray(image.convert("RGB").convert("L"))
    assert np.array_equal(data.read_image(io.BytesIO(encoded(image)), expected.shape), expected)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bits_become_8(kind):
    levels = np.array([[0, 128, 129, 257, 32896, 65535]], np.uint16)
    image = data.read_image(io.BytesIO(encoded(Image.fromarray(levels), kind)), levels.shape)
    assert image.tolist() == [[0, 0, 1, 1, 128, 255]]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_shows_a_white_page(mode):
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, 3] = [0, 255, 0]
    image = Image.fromarray(pixels)
    if mode == "P":
        image = Image.fromarray(np.array([[0, 1, 0]], np.uint8)).convert("P")
        image.putpalette([0, 0, 0, 0, 0, 0])
        file = encoded(image, transparency=0)
    else:
        file = encoded(image.convert(mode))
    assert data.read_image(io.BytesIO(file), (1, 3)).tolist() == [[255, 0, 255]]


def test_floating_point_pixels_are_refused():
    file = encoded(Image.fromarray(np.ones((3, 3), np.float32)), "TIFF")
    with pytest.raises(DataError, match="no agreed range"):
        data.read_image(io.BytesIO(file))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(kind, orientation):
    levels = np.kron(np.array([[0, 60, 120], [180, 240, 30]], np.uint8), np.ones((16, 16), np.uint8))
    turned = [
        levels,
        levels[:, ::-1],
        levels[::-1, ::-1],
        levels[::-1],
        levels.T,
        np.rot90(levels, -1),
        levels[::-1, ::-1].T,
        np.rot90(levels),
    ][orientation - 1]
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO(encoded(Image.fromarray(levels), kind, exif=exif))
    image = data.read_image(file, turned.shape)
    assert np.abs(image - turned.astype(int)).max() <= 8


@pytest.mark.parametrize("shape", [(40, 56), (300, 500)])
def test_resizing_is_pillows_bilinear(shape):
    image = Image.fromarray(textured(*shape))
    expected = np.asarray(image.resize((24, 16), Image.Resampling.BILINEAR))
    assert np.array_equal(data.read_image(io.BytesIO(encoded(image)), (16, 24)), expected)


def test_fine_detail_does_not_alias():
    stripes = np.tile(np.array([[0], [255]], np.uint8), (128, 256))
    inside = data.read_image(io.BytesIO(encoded(Image.fromarray(stripes))), (37, 37))[2:-2]
    assert np.abs(inside - 127.5).max() < 10


@pytest.mark.parametrize("scale", [8, 21])
def test_large_jpegs_decoded_at_a_smaller_scale_look_the_same(scale):
    colours = np.random.default_rng(0).integers(0, 256, (16 * scale, 24 * scale, 3), np.uint8)
    file = encoded(Image.fromarray(colours), "JPEG", quality=95)
    with Image.open(io.BytesIO(file)) as image:
        expected = np.asarray(image.convert("L").resize((24, 16), Image.Resampling.BILINEAR))
    difference = data.read_image(io.BytesIO(file), (16, 24)) - expected.astype(int)
    assert np.abs(difference).max() <= 2


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_no_damage_to_an_image_escapes_as_another_error(draw):
    kind = draw.draw(st.sampled_from(["JPEG", "PNG", "GIF", "TIFF", "BMP", "PPM"]))
    contents = bytearray(encoded(Image.fromarray(textured(9, 7)), kind))
    for _ in range(draw.draw(st.integers(1, 5))):
        contents[draw.draw(st.integers(0, len(contents) - 1))] = draw.draw(st.integers(0, 255))
    try:
        image = data.read_image(io.BytesIO(contents), (3, 5))
    except DataError:
        return
    assert image.shape == (3, 5)


def test_read_image_takes_paths_and_files_and_names_them_in_errors(tmp_path):
    write_folder(tmp_path, {"good.png": flat(7), "bad.png": b"x"})
    with open(tmp_path / "good.png", "rb") as file:
        assert np.array_equal(data.read_image(file), np.full((64, 64), 7))
        assert not file.closed
    assert np.array_equal(data.read_image(str(tmp_path / "good.png"), (2, 1)), [[7], [7]])
    for name, reason in (
        ("bad.png", "cannot be read: it is no image"),
        ("none.png", "cannot be opened: No such file"),
    ):
        with pytest.raises(DataError, match=rf"{name}' {reason}"):
            data.read_image(tmp_path / name)
    with pytest.raises(ArgumentError, match="a bytes is neither a path nor an open file"):
        data.read_image(b"\x89PNG")
    assert data.read_image(tmp_path / "good.png", (np.int64(2), np.int64(1))).shape == (2, 1)


def test_importing_the_package_loads_no_pillow():
    code = "import minigrad.data, sys; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Data sets


def made(count=30, classes=3):
    """A data set whose images say their index."""
    images = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None], (count, 4, 5)).copy()
    labels = np.sort(np.arange(count) % classes)
    return data.ImageDataset(images, labels, tuple("abc"[:classes]), tuple(map(str, range(count))), "made up")


def indices(dataset):
    return [int(path) for path in dataset.paths]


def test_a_data_set_checks_its_arrays():
    images, labels = np.zeros((2, 4, 4), np.uint8), np.zeros(2, np.int64)
    with pytest.raises(ShapeError, match="every image needs one label"):
        data.ImageDataset(images, labels[:1], ("a",), ("1", "2"), "")
    with pytest.raises(ShapeError, match="3 paths"):
        data.ImageDataset(images, labels, ("a",), ("1", "2", "3"), "")
    with pytest.raises(DtypeError, match="images are uint8"):
        data.ImageDataset(images.astype(np.float32), labels, ("a",), ("1", "2"), "")
    for label in (-1, 1):
        with pytest.raises(ArgumentError, match="are not the numbers of 1 classes"):
            data.ImageDataset(images, labels + label, ("a",), ("1", "2"), "")


@pytest.mark.parametrize("chosen", [[5, 0, 5], [], [-1], np.array([2, 1]), np.arange(30) % 7 == 0])
def test_subset(chosen):
    dataset = made()
    part = dataset.subset(chosen)
    expected = np.arange(30)[np.array(chosen, None if len(chosen) else int)].tolist()
    assert indices(part) == expected
    assert part.images[:, 0, 0].tolist() == expected
    assert part.labels.tolist() == [int(dataset.labels[i]) for i in expected]
    assert (part.classes, part.report) == (dataset.classes, dataset.report)


@pytest.mark.parametrize("chosen", [[30], [-31], [0.5], [True], ["a"], [[0, 1]]])
def test_a_subset_out_of_range(chosen):
    with pytest.raises(IndexingError, match="subset of 30 images"):
        made().subset(chosen)


@given(st.integers(1, 60), st.integers(1, 3), st.floats(0.01, 0.99), st.integers(0, 2**32))
@settings(deadline=None, max_examples=40)
def test_split_is_stratified(count, classes, fraction, seed):
    dataset = made(count, classes)
    members = np.bincount(dataset.labels)
    assume(0 < sum(round(fraction * n) for n in members.tolist()) < count)
    kept, held_out = dataset.split(fraction, seed)
    assert sorted(indices(kept) + indices(held_out)) == list(range(count))
    assert indices(held_out) == sorted(indices(held_out))
    for label, number in enumerate(members.tolist()):
        assert np.count_nonzero(held_out.labels == label) == round(fraction * number)
    assert indices(dataset.split(fraction, seed)[1]) == indices(held_out)


def test_split_depends_on_the_seed():
    assert len({tuple(indices(made().split(0.5, seed)[1])) for seed in range(5)}) == 5


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 2, float("nan")])
def test_a_split_out_of_range(fraction):
    with pytest.raises(ArgumentError, match="above 0 and below 1"):
        made().split(fraction)


@pytest.mark.parametrize(("fraction", "what"), [(0.5, "none"), (0.6, "all")])
def test_no_part_of_a_split_is_empty(fraction, what):
    with pytest.raises(ArgumentError, match=f"is {what} of them"):
        made(3, 3).split(fraction)


# Batches


@given(st.integers(1, 40), st.integers(1, 50), st.booleans(), st.booleans(), st.integers(0, 9))
@settings(deadline=None, max_examples=40)
def test_batches_hold_every_image_once(count, batch_size, shuffle, drop_last, seed):
    dataset = made(count)
    batches = data.batches(dataset, batch_size, shuffle=shuffle, drop_last=drop_last, seed=seed)
    found = list(batches)
    assert len(batches) == len(found) == (count // batch_size if drop_last else -(-count // batch_size))
    seen = []
    for number, (x, y) in enumerate(found):
        size = min(batch_size, count - number * batch_size)
        assert (x.shape, y.shape) == ((size, 1, 4, 5), (size,))
        assert (x.numpy().dtype, y.numpy().dtype) == (np.float32, np.int64)
        chosen = np.rint(x.numpy()[:, 0, 0, 0] * 255).astype(int)
        assert np.array_equal(x.numpy()[:, 0], dataset.images[chosen] / np.float32(255))
        assert np.array_equal(y.numpy(), dataset.labels[chosen])
        seen += chosen.tolist()
    if not drop_last:
        assert sorted(seen) == list(range(count))
    assert len(set(seen)) == len(seen)
    if not shuffle:
        assert seen == list(range(len(seen)))


def bits(batches):
    return [(x.numpy().tobytes(), y.numpy().tobytes()) for x, y in batches]


def test_an_epoch_has_the_same_bits_whatever_was_drawn_before():
    dataset, options = made(), {"shuffle": True, "transform": data.IntensityJitter(0.5, 0.5)}
    epoch = data.batches(dataset, 8, seed=3, epoch=2, **options)
    first = bits(epoch)
    next(iter(data.batches(dataset, 8, seed=3, epoch=1, **options)))
    assert bits(epoch) == first
    assert bits(data.batches(dataset, 8, seed=3, epoch=2, **options)) == first
    assert bits(data.batches(dataset, 8, seed=3, epoch=1, **options)) != first
    assert bits(data.batches(dataset, 8, seed=4, epoch=2, **options)) != first


def test_each_epoch_has_its_own_order():
    orders = {tuple(y for _, y in bits(data.batches(made(), 30, shuffle=True, epoch=epoch))) for epoch in range(5)}
    assert len(orders) == 5


def test_augmentation_differs_between_batches_and_epochs():
    drawn = []

    def transform(images, generator):
        drawn.append(float(generator.uniform((1,)).numpy()[0]))
        return images

    for epoch in range(3):
        for _ in data.batches(made(), 10, epoch=epoch, transform=transform):
            pass
    assert len(set(drawn)) == 9


def test_batches_that_cannot_be():
    for batch_size in (0, -1, 2.0, True, None):
        with pytest.raises(ArgumentError, match=r"batch_size = .* is (less than 1|not an integer)"):
            data.batches(made(), batch_size)
    assert len(data.batches(made(), np.int64(15))) == 2
    with pytest.raises(DataError, match="no images"):
        data.batches(made().subset([]), 4)
    with pytest.raises(DtypeError, match="gave float64"):
        list(data.batches(made(), 4, transform=lambda images, generator: images.astype(np.float64)))


# Transforms


def frozen(shape=(64, 1, 6, 7), low=0.0, high=1.0):
    images = np.random.default_rng(0).uniform(low, high, shape).astype(np.float32)
    images.flags.writeable = False
    return images


def test_flip():
    images = frozen()
    assert np.array_equal(data.RandomFlip(0)(images, Generator(0)), images)
    assert np.array_equal(data.RandomFlip(1)(images, Generator(0)), images[..., ::-1])
    result = data.RandomFlip()(images, Generator(0))
    flipped = (result == images[..., ::-1]).all((1, 2, 3))
    assert ((result == images).all((1, 2, 3)) ^ flipped).all()
    assert 15 < flipped.sum() < 49


def test_brightness_multiplies_each_image():
    images = frozen(low=0.1, high=0.6)
    ratio = data.IntensityJitter(brightness=0.4)(images, Generator(0)) / images
    factors = ratio.mean((1, 2, 3), keepdims=True)
    np.testing.assert_allclose(ratio, np.broadcast_to(factors, ratio.shape), rtol=1e-5)
    assert 0.6 <= factors.min() < 0.75
    assert 1.25 < factors.max() <= 1.4 + 1e-5


def test_contrast_multiplies_the_distance_from_the_mean():
    images = frozen(low=0.3, high=0.7)
    mean = images.mean((1, 2, 3), keepdims=True)
    result = data.IntensityJitter(contrast=0.4)(images, Generator(0))
    np.testing.assert_allclose(result.mean((1, 2, 3)), mean.ravel(), rtol=1e-5)
    factors = (result.std((1, 2, 3)) / images.std((1, 2, 3)))[:, None, None, None]
    np.testing.assert_allclose(result - mean, factors * (images - mean), atol=1e-5)
    assert 0.6 <= factors.min() < 0.75
    assert 1.25 < factors.max() <= 1.4 + 1e-5


class Scripted:
    """A generator that gives the draws it is told to, and keeps the bounds it is asked for."""

    def __init__(self, *draws):
        self.draws = list(draws)
        self.bounds = []

    def uniform(self, shape, low=0.0, high=1.0):
        self.bounds.append((low, high))
        return asarray(np.array(self.draws.pop(0), np.float32).reshape(shape))


def test_jitter_step_by_step():
    cases = list(itertools.product([0.5, 1.5], [0.0, 4.0], [0.25, 0.75]))
    image = np.array([0, 0.5, 1, 1], np.float32)
    generator = Scripted(*zip(*cases, strict=True))
    jitter = data.IntensityJitter(brightness=0.5, contrast=3)
    results = jitter(np.broadcast_to(image, (len(cases), 1, 1, 4)), generator)
    assert generator.bounds == [(0.5, 1.5), (0.0, 4.0), (0.0, 1.0)]
    for (brightness, contrast, order), result in zip(cases, results[:, 0, 0], strict=True):
        steps = [
            lambda x, factor=brightness: np.clip(factor * x, 0, 1),
            lambda x, factor=contrast: np.clip(factor * x + (1 - factor) * x.mean(), 0, 1),
        ]
        first, second = steps if order < 0.5 else steps[::-1]
        np.testing.assert_allclose(result, second(first(image)), atol=1e-6)


def test_no_jitter_changes_nothing():
    images = frozen()
    np.testing.assert_allclose(data.IntensityJitter()(images, Generator(0)), images, atol=1e-6)


@pytest.mark.parametrize("strength", [0.2, 1.0, 3.0])
def test_jitter_stays_in_range(strength):
    result = data.IntensityJitter(strength, strength)(frozen(), Generator(0))
    assert result.dtype == np.float32
    assert 0 <= result.min() <= result.max() <= 1


def test_compose_applies_in_order():
    images = frozen()
    transform = data.Compose([data.RandomFlip(1), data.Normalize(0.5, 2.0), lambda images, generator: -images])
    assert np.array_equal(transform(images, Generator(0)), -((images[..., ::-1] - 0.5) / 2))
    assert np.array_equal(data.Compose([])(images, Generator(0)), images)


def test_normalised_images_have_mean_0_and_deviation_1():
    images = textured(50, 60)[None]
    mean, std = data.mean_std(images)
    result = data.Normalize(mean, std)(images[:, None] / np.float32(255), Generator(0))
    assert result.dtype == np.float32
    np.testing.assert_allclose([result.mean(), result.std()], [0, 1], atol=1e-5)


@given(st.integers(1, 5), st.integers(1, 9), st.integers(0, 255), st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_mean_std_is_numpys(count, side, top, seed):
    images = np.random.default_rng(seed).integers(0, top, (count, side, 3), np.uint8, endpoint=True)
    scaled = images / 255
    np.testing.assert_allclose(data.mean_std(images), (scaled.mean(), scaled.std()), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    "call",
    [
        lambda: data.RandomFlip(1.5),
        lambda: data.RandomFlip(float("nan")),
        lambda: data.IntensityJitter(brightness=-0.1),
        lambda: data.IntensityJitter(contrast=float("inf")),
        lambda: data.Normalize(0, 0),
        lambda: data.Normalize(float("nan"), 1),
        lambda: data.mean_std(np.zeros((1, 2, 2), np.float32)),
        lambda: data.mean_std(np.zeros((0, 2, 2), np.uint8)),
    ],
)
def test_options_out_of_range(call):
    with pytest.raises(MinigradError):
        call()


# The real scenes, where they are at hand


@pytest.mark.skipif("MINIGRAD_SCENES" not in os.environ, reason="MINIGRAD_SCENES names no scenes")
def test_the_real_scenes():
    source = os.environ["MINIGRAD_SCENES"]
    train = data.image_folder(source, split="train")
    test = data.image_folder(source, split="test", classes=train.classes)
    assert train.classes == test.classes
    assert len(train.classes) == 15
    assert len(train) == 2985
    assert "0 not read" in train.report
    assert not set(train.paths) & set(test.paths)
    np.testing.assert_allclose(data.mean_std(train.images), (0.455, 0.235), atol=0.002)
