"""Random changes of training images, and normalisation.

A transform is called with a batch of images, float32 (b 1 h w), and a `Generator`, and returns a new batch.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from minigrad.errors import ArgumentError, DataError, DtypeError
from minigrad.random import Generator

Transform = Callable[[np.ndarray, Generator], np.ndarray]


class Compose:
    """Apply transforms one after another.

    Examples
    --------
    >>> transform = Compose([RandomFlip(p=1.0), Normalize(mean=0.5, std=0.5)])
    >>> transform(np.array([[[[0.0, 1.0]]]], np.float32), Generator(0))
    array([[[[ 1., -1.]]]], dtype=float32)
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = tuple(transforms)

    def __call__(self, images: np.ndarray, generator: Generator) -> np.ndarray:
        """Transform a batch (b 1 h w)."""
        for transform in self.transforms:
            images = transform(images, generator)
        return images


class RandomFlip:
    """Mirror each image left to right with probability `p`.

    Examples
    --------
    >>> RandomFlip(p=1.0)(np.array([[[[1, 2, 3]]]], np.float32), Generator(0))
    array([[[[3., 2., 1.]]]], dtype=float32)
    """

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p <= 1:
            raise ArgumentError(f"RandomFlip: p is a probability, not {p}")
        self.p = p

    def __call__(self, images: np.ndarray, generator: Generator) -> np.ndarray:
        """Transform a batch (b 1 h w)."""
        flip = _uniform(generator, images) < self.p
        return np.where(flip, images[..., ::-1], images)


class IntensityJitter:
    """Change brightness and contrast of each image at random, keeping it in [0, 1].

    Brightness multiplies the image by a factor, contrast its distance from its own mean. The factors are
    uniform in [max(0, 1 - strength), 1 + strength], and which of the two comes first is drawn too: what
    torchvision's ColorJitter does to grey images.

    Parameters
    ----------
    brightness, contrast
        Strength of each; 0 switches it off.

    Examples
    --------
    >>> images = np.array([[[[0.25, 0.75]]]], np.float32)
    >>> jittered = IntensityJitter(brightness=0.2, contrast=0.2)(images, Generator(0))
    >>> bool(0.8 * 0.5 <= jittered.mean() <= 1.2 * 0.5)
    True
    """

    def __init__(self, brightness: float = 0.0, contrast: float = 0.0) -> None:
        for name, strength in ("brightness", brightness), ("contrast", contrast):
            if not 0 <= strength < math.inf:
                raise ArgumentError(f"IntensityJitter: {name} is a finite strength, 0 or more, not {strength}")
        self.brightness = brightness
        self.contrast = contrast

    def __call__(self, images: np.ndarray, generator: Generator) -> np.ndarray:
        """Transform a batch (b 1 h w)."""
        brightness, contrast = (
            _uniform(generator, images, max(0.0, 1 - strength), 1 + strength)
            for strength in (self.brightness, self.contrast)
        )
        brightness_first = _uniform(generator, images) < 0.5
        one = np.float32(1)
        images = np.clip(images * np.where(brightness_first, brightness, one), 0, 1)
        mean = images.mean(axis=(1, 2, 3), keepdims=True)
        images = np.clip(mean + contrast * (images - mean), 0, 1)
        return np.clip(images * np.where(brightness_first, one, brightness), 0, 1)


class Normalize:
    """Subtract the mean and divide by the standard deviation of a training set, as `mean_std` gives them.

    Examples
    --------
    >>> Normalize(mean=0.5, std=0.25)(np.array([[[[0.0, 1.0]]]], np.float32), Generator(0))
    array([[[[-2.,  2.]]]], dtype=float32)
    """

    def __init__(self, mean: float, std: float) -> None:
        if not (math.isfinite(mean) and 0 < std < math.inf):
            raise ArgumentError(f"Normalize: mean {mean} must be finite and std {std} finite and positive")
        self.mean = mean
        self.std = std

    def __call__(self, images: np.ndarray, generator: Generator) -> np.ndarray:
        """Transform a batch (b 1 h w); draws no random numbers."""
        return (images - np.float32(self.mean)) / np.float32(self.std)


def mean_std(images: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation over all pixels of all images, with grey levels in [0, 1].

    Parameters
    ----------
    images
        (n h w), uint8, as `ImageDataset.images`.

    Returns
    -------
    mean, std : float
        `std` is that of the population, the root of the mean squared distance from the mean.

    Raises
    ------
    DtypeError
        If the images are not uint8.
    DataError
        If there is no pixel.

    Examples
    --------
    >>> mean_std(np.array([[[0, 255]]], np.uint8))
    (0.5, 0.5)
    """
    if images.dtype != np.uint8:
        raise DtypeError(f"mean_std: images are uint8, not {images.dtype}")
    if not images.size:
        raise DataError("mean_std: there is no pixel")
    # A histogram is exact and small; one image at a time, because bincount widens its input eight-fold.
    histogram = np.sum([np.bincount(image.ravel(), minlength=256) for image in images], axis=0)
    levels = np.arange(256) / 255
    mean = np.average(levels, weights=histogram)
    return float(mean), float(np.sqrt(np.average((levels - mean) ** 2, weights=histogram)))


def _uniform(generator: Generator, images: np.ndarray, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """One number an image, (b 1 1 1)."""
    return generator.uniform((len(images), 1, 1, 1), low, high).numpy()
