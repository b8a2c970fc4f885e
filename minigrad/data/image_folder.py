"""A folder or zip archive of images, one subfolder a class, as a data set."""

import os
import unicodedata
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np

from minigrad.data.dataset import ImageDataset
from minigrad.data.images import SUFFIXES, check_size, decode
from minigrad.data.sources import Source, listing, open_source
from minigrad.errors import ArgumentError, DataError

REASONS_SHOWN = 5

Progress = Callable[[int, int], None]


def image_folder(
    source: str | os.PathLike[str],
    *,
    split: str | None = None,
    size: tuple[int, int] = (64, 64),
    classes: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> ImageDataset:
    """Read the images of a folder or zip archive in which each subfolder is a class.

    The layout is ``CLASS/image`` or, with `split`, ``SPLIT/CLASS/image``; either may lie deeper in the
    source. Names of classes and splits match whatever their letter case. Files without the suffix of an image
    are ignored; images that cannot be read are left out, and `ImageDataset.report` says why. Images come
    sorted by class, then by name, each as `read_image` reads it. An archive is read in place, and no path in
    it is trusted: nothing outside the source is ever opened.

    Parameters
    ----------
    source
        A folder, or a zip archive.
    split
        The folder that holds the class folders, such as "train"; not needed where only one does.
    size
        Height and width that every image is resized to, in pixels.
    classes
        The classes by number, if they are known: `train.classes` gives a test set the labels of its training
        set. Otherwise they are the class folders in alphabetical order.
    progress
        Called after each image, with the number done and the number of all.

    Raises
    ------
    DataError
        If the source is missing or cannot be opened, has no such split or no readable image, or has a class
        that is not in `classes`.
    ArgumentError
        If `size` is not two positive whole numbers, or two of `classes` differ in letter case only.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("forest", "Coast"):
    ...         path = Path(folder, "train", name, "1.png")
    ...         path.parent.mkdir(parents=True)
    ...         Image.new("L", (9, 9), 128).save(path)
    ...     train = image_folder(folder, split="train", size=(4, 4))
    >>> train
    ImageDataset(2 images of 4x4, 2 classes)
    >>> train.classes, train.paths
    (('Coast', 'forest'), ('train/Coast/1.png', 'train/forest/1.png'))
    """
    check_size(size)
    source = Path(source).expanduser()
    with open_source(source) as files:
        candidates = [path for path in map(PurePosixPath, files.names) if _is_image(path)]
        root = _class_root(candidates, split, source, files.names)
        chosen = [path for path in candidates if path.parent.parent == root != path.parent]  # "." is its own parent
        classes, numbers = _number_classes({path.parent.name for path in chosen}, classes, source)
        chosen.sort(key=lambda path: (numbers[_folded(path.parent.name)], path))
        results = _decode_all(files, chosen, size, progress)

    read, not_read = [], dict(files.refused)
    for path in {*candidates} - {*chosen}:
        if root in path.parents:
            not_read[str(path)] = "it does not lie directly in a class folder"
    for path, result in zip(chosen, results, strict=True):
        if isinstance(result, str):
            not_read[str(path)] = result
        else:
            read.append((path, result))
    report = (
        f"{source}{f', {split}' if split else ''}: {len(read)} images read, {len(classes)} classes, "
        f"{len(files.names) - len(candidates)} other files ignored, {len(not_read)} not read" + _reasons(not_read)
    )
    if not read:
        raise DataError(f"not one image can be read from {report}")
    return ImageDataset(
        images=np.stack([image for _, image in read]),
        labels=np.array([numbers[_folded(path.parent.name)] for path, _ in read], np.int64),
        classes=classes,
        paths=tuple(str(path) for path, _ in read),
        report=report,
    )


def _is_image(path: PurePosixPath) -> bool:
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden


def _folded(name: str) -> str:
    """The name without letter case, and with accents composed, which some file systems take apart."""
    return unicodedata.normalize("NFC", name).casefold()


def _class_root(
    candidates: list[PurePosixPath], split: str | None, source: Path, names: Sequence[str]
) -> PurePosixPath:
    """The one folder whose subfolders are the classes."""
    inside = [path for path in candidates if len(path.parts) > 1]
    roots = {path.parent.parent for path in inside}
    # A picture beside the class folders does not make a class of the folder that holds them.
    roots = {path.parent.parent for path in inside if path.parent not in roots}
    if not roots:
        raise DataError(f"{str(source)!r} has no images in class folders; it holds {listing(names)}")
    found = listing(map(str, roots))
    if split is not None:
        roots = {root for root in roots if _folded(root.name) == _folded(split)}
        if not roots:
            raise DataError(f"{str(source)!r} has no split {split!r}; its class folders lie in {found}")
    if len(roots) > 1:
        hint = "choose one with split=" if split is None else "move the others away"
        raise DataError(f"{str(source)!r} has class folders in {found}; {hint}")
    return roots.pop()


def _number_classes(
    folders: set[str], classes: Sequence[str] | None, source: Path
) -> tuple[tuple[str, ...], dict[str, int]]:
    """The classes, and the number of each by its folded name."""
    if classes is None:
        spellings = {_folded(folder): folder for folder in sorted(folders, reverse=True)}
        classes = [spellings[name] for name in sorted(spellings)]
    numbers = {_folded(name): number for number, name in enumerate(classes)}
    if len(numbers) < len(classes):
        raise ArgumentError(f"two classes differ in letter case only, among {listing(classes)}")
    if unknown := [folder for folder in folders if _folded(folder) not in numbers]:
        known = listing(classes, most=len(classes))
        raise DataError(f"{str(source)!r} has the class {listing(unknown)}, which is not one of {known}")
    return tuple(classes), numbers


def _decode_all(
    files: Source, paths: list[PurePosixPath], size: tuple[int, int], progress: Progress | None
) -> list[np.ndarray | str]:
    """Each image, or why it cannot be read, in the order of `paths`."""

    def decode_one(path: PurePosixPath) -> np.ndarray | str:
        try:
            return decode(files.read(str(path)), size)
        except DataError as error:
            return str(error)

    results = []
    # Threads: Pillow decodes without Python's lock. No warnings: Pillow's do not say which file they mean.
    with warnings.catch_warnings(action="ignore"), ThreadPoolExecutor(os.cpu_count()) as pool:
        for result in pool.map(decode_one, paths):
            results.append(result)
            if progress is not None:
                progress(len(results), len(paths))
    return results


def _reasons(not_read: dict[str, str]) -> str:
    lines = [f"\n  {name!r}: {reason}" for name, reason in sorted(not_read.items())]
    if len(lines) > REASONS_SHOWN:
        lines[REASONS_SHOWN:] = [f"\n  and {len(lines) - REASONS_SHOWN} more"]
    return "".join(lines)
