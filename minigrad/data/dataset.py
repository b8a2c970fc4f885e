"""Labelled grey images, held in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from minigrad.errors import ArgumentError, DtypeError, IndexingError, ShapeError, message
from minigrad.random import Generator


@dataclass(frozen=True, eq=False, repr=False)
class ImageDataset:
    """Labelled grey images of one size.

    Attributes
    ----------
    images
        (n h w), uint8.
    labels
        (n,), int64: the number of each image's class.
    classes
        The name of each class, by number.
    paths
        n names: where each image was found inside its source.
    report
        What was read, what was not and why, as text for a person.

    Raises
    ------
    ShapeError, DtypeError, ArgumentError
        If the arrays are not as above, or a label is the number of no class.

    Examples
    --------
    >>> images = np.zeros((4, 2, 3), np.uint8)
    >>> dataset = ImageDataset(images, np.array([0, 1, 1, 1]), ("coast", "forest"), ("a", "b", "c", "d"), "")
    >>> dataset
    ImageDataset(4 images of 2x3, 2 classes)
    >>> dataset.subset([3, 0]).paths
    ('d', 'a')
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    paths: tuple[str, ...]
    report: str

    def __post_init__(self) -> None:
        rows = [("images", "n h w", self.images), ("labels", "n", self.labels)]
        if self.images.ndim != 3 or self.labels.shape != self.images.shape[:1]:
            raise ShapeError(message("ImageDataset: every image needs one label", rows))
        if len(self.paths) != len(self.images):
            raise ShapeError(message(f"ImageDataset: n differs, {len(self.paths)} paths", rows))
        if self.images.dtype != np.uint8 or self.labels.dtype != np.int64:
            raise DtypeError(message("ImageDataset: images are uint8 and labels int64", rows))
        if self.labels.size and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            known = f"the numbers of {len(self.classes)} classes"
            raise ArgumentError(f"ImageDataset: labels from {self.labels.min()} to {self.labels.max()} are not {known}")

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        height, width = self.images.shape[1:]
        return f"ImageDataset({len(self)} images of {height}x{width}, {len(self.classes)} classes)"

    def subset(self, indices: Sequence[int] | np.ndarray) -> "ImageDataset":
        """Take some of the images, in the order of `indices` (whole numbers, or one bool per image).

        The class numbers stay as they are.

        Raises
        ------
        IndexingError
            If an index is out of range or no whole number, or the indices do not form a row.
        """
        index = np.asarray(indices) if len(indices) else np.zeros(0, np.int64)
        if index.ndim != 1:
            raise IndexingError(f"subset of {len(self)} images: the indices have {index.ndim} axes, not 1")
        try:
            index = np.arange(len(self))[index]
        except IndexError as error:
            raise IndexingError(f"subset of {len(self)} images: {error}") from error
        return replace(
            self,
            images=self.images[index],
            labels=self.labels[index],
            paths=tuple(self.paths[i] for i in index),
        )

    def split(self, fraction: float, seed: int = 0) -> tuple["ImageDataset", "ImageDataset"]:
        """Hold out a fraction of every class at random, for validation.

        Each part keeps the order of the whole. The same seed gives the same parts.

        Parameters
        ----------
        fraction
            The share held out of each class, above 0 and below 1, rounded to whole images.
        seed
            Seed of the random choice.

        Returns
        -------
        kept, held_out : ImageDataset

        Raises
        ------
        ArgumentError
            If `fraction` is out of range, or so near to 0 or 1 that one part would be empty.

        Examples
        --------
        >>> labels = np.repeat(np.arange(2), [10, 20])
        >>> dataset = ImageDataset(np.zeros((30, 1, 1), np.uint8), labels, ("a", "b"), ("",) * 30, "")
        >>> train, validation = dataset.split(0.2)
        >>> np.bincount(train.labels), np.bincount(validation.labels)
        (array([ 8, 16]), array([2, 4]))
        """
        if not 0 < fraction < 1:
            raise ArgumentError(f"split: the fraction held out is above 0 and below 1, not {fraction}")
        order = Generator(seed).permutation(len(self)).numpy()
        held_out = np.zeros(len(self), bool)
        for label in range(len(self.classes)):
            members = order[self.labels[order] == label]
            held_out[members[: round(fraction * len(members))]] = True
        if held_out.all() or not held_out.any():
            what = "all" if held_out.all() else "none"
            raise ArgumentError(f"split: of each class, {fraction} of its images, rounded, is {what} of them")
        return self.subset(~held_out), self.subset(held_out)
