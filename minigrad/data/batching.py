"""Batches of a data set, as tensors."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from minigrad import kernels
from minigrad.creation import asarray
from minigrad.data.augment import Transform
from minigrad.data.dataset import ImageDataset
from minigrad.errors import ArgumentError, DataError, DeviceError, DtypeError
from minigrad.ops.checks import integer
from minigrad.random import Generator
from minigrad.tensor import Tensor


@dataclass(frozen=True)
class Batches:
    """The batches of one epoch; each pass over them gives the same bits. Made by `batches`."""

    dataset: ImageDataset
    batch_size: int
    shuffle: bool
    seed: int
    epoch: int
    drop_last: bool
    transform: Transform | None
    device: str

    def __len__(self) -> int:
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = np.arange(len(self.dataset))
        if self.shuffle:
            order = Generator(self.seed, self.epoch).permutation(len(order)).numpy()
        for number in range(len(self)):
            chosen = order[number * self.batch_size : (number + 1) * self.batch_size]
            images = self.dataset.images[chosen, None] / np.float32(255)
            if self.transform is not None:
                images = self.transform(images, Generator(self.seed, self.epoch, number))
                if images.dtype != np.float32:
                    raise DtypeError(f"batches: the transform gave {images.dtype} images instead of float32")
            labels = self.dataset.labels[chosen]
            yield asarray(images, device=self.device), asarray(labels, device=self.device)


def batches(
    dataset: ImageDataset,
    batch_size: int,
    *,
    shuffle: bool = False,
    seed: int = 0,
    epoch: int = 0,
    drop_last: bool = False,
    transform: Transform | None = None,
    device: str = "cpu",
) -> Batches:
    """Go through a data set batch by batch.

    Shuffling and the transform depend on `seed` and `epoch` alone, so any epoch can be repeated bit by bit.

    Parameters
    ----------
    dataset
        Images and labels.
    batch_size
        Images a batch; the last batch holds what is left.
    shuffle
        Whether the images come in random order, another one in each epoch.
    seed, epoch
        Key of the random numbers.
    drop_last
        Whether to leave out a last batch of fewer than `batch_size` images.
    transform
        Applied to the images of each batch: ``transform(images, generator)``, float32 (b 1 h w) to float32.
    device
        Where the batches go. On a GPU a batch is on its way while the GPU computes with the one before, as long as
        nothing waits for a result in between (`loss.item()` in each step does).

    Returns
    -------
    Batches
        An iterable with a length, of pairs: images (b 1 h w), float32 in [0, 1], and labels (b,), int64.

    Raises
    ------
    ArgumentError
        If `batch_size` is not a positive whole number.
    DataError
        If the data set is empty.
    DeviceError
        If there is no such device.
    DtypeError
        While iterating, if the transform does not give float32.

    Examples
    --------
    >>> images = np.full((5, 2, 2), 255, np.uint8)
    >>> dataset = ImageDataset(images, np.arange(5), tuple("abcde"), tuple("abcde"), "")
    >>> for x, y in batches(dataset, 2):
    ...     print(x.shape, y.numpy())
    (2, 1, 2, 2) [0 1]
    (2, 1, 2, 2) [2 3]
    (1, 1, 2, 2) [4]
    """
    batch_size = integer("batches", "batch_size", batch_size)
    if batch_size < 1:
        raise ArgumentError(f"batches: batch_size = {batch_size} is less than 1")
    if not len(dataset):
        raise DataError("batches: the data set has no images")
    if not kernels.backend(device).is_available():
        raise DeviceError(f"batches: no device {device!r} here")
    return Batches(dataset, batch_size, shuffle, seed, epoch, drop_last, transform, device)
