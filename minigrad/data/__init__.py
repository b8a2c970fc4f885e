"""Images and labels: read from folders and archives, drawn, split, batched and augmented."""

from minigrad.data.augment import Compose, IntensityJitter, Normalize, RandomFlip, Transform, mean_std
from minigrad.data.batching import Batches, batches
from minigrad.data.dataset import ImageDataset
from minigrad.data.image_folder import image_folder
from minigrad.data.images import read_image
from minigrad.data.synthetic import synthetic_scenes

__all__ = [
    "Batches",
    "Compose",
    "ImageDataset",
    "IntensityJitter",
    "Normalize",
    "RandomFlip",
    "Transform",
    "batches",
    "image_folder",
    "mean_std",
    "read_image",
    "synthetic_scenes",
]
