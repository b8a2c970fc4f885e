"""Fifteen kinds of scene, drawn from nothing: the data of whoever has no data."""

import numpy as np

from minigrad.data.dataset import ImageDataset
from minigrad.data.images import check_size
from minigrad.data.painting import Canvas
from minigrad.data.scenes import SCENES
from minigrad.errors import ArgumentError
from minigrad.ops.checks import integer

PER_CLASS = {"train": 100, "test": 50}


def synthetic_scenes(
    split: str = "train", *, per_class: int | None = None, size: tuple[int, int] = (64, 64), seed: int = 0
) -> ImageDataset:
    """Draw labelled pictures of fifteen kinds of scene.

    Viewpoint, light, tones, clutter and grain are random, so that no pixel says much by itself: a linear
    classifier stays weak where a small convolutional network does well. The classes are those of the scene
    data set of Lazebnik, Schmid and Ponce ("Beyond bags of features", CVPR 2006), of which no picture is used.

    A picture depends on `seed`, `split`, `size`, its class and its number in the class, and on nothing else.
    Training and test pictures come from separate random streams.

    Parameters
    ----------
    split
        "train" or "test".
    per_class
        Pictures of each class; 100 for training and 50 for testing unless given.
    size
        Height and width, in pixels.
    seed
        A whole number from 0 to 2**128 - 1; each gives other pictures.

    Returns
    -------
    ImageDataset
        Images (n h w), sorted by class.

    Raises
    ------
    ArgumentError
        If an argument is not as above.

    Examples
    --------
    >>> scenes = synthetic_scenes("test", per_class=2)
    >>> scenes
    ImageDataset(30 images of 64x64, 15 classes)
    >>> scenes.classes[scenes.labels[2]], scenes.paths[2]
    ('Coast', 'test/Coast/0000')
    """
    if split not in tuple(PER_CLASS):
        raise ArgumentError(f"synthetic_scenes: split is 'train' or 'test', not {split!r}")
    per_class = integer("synthetic_scenes", "per_class", PER_CLASS[split] if per_class is None else per_class)
    seed = integer("synthetic_scenes", "seed", seed)
    if per_class < 1:
        raise ArgumentError(f"synthetic_scenes: per_class = {per_class} is not positive")
    if not 0 <= seed < 2**128:
        raise ArgumentError(f"synthetic_scenes: seed = {seed} is not between 0 and 2**128 - 1")
    check_size(size)

    images = np.empty((len(SCENES), per_class, *size), np.uint8)
    for label, paint in enumerate(SCENES.values()):
        for i in range(per_class):
            # Philox counts in the first word: streams that differ in another word never meet.
            bits = np.random.Philox(key=seed, counter=[0, i, label, list(PER_CLASS).index(split)])
            canvas = Canvas(size, np.random.Generator(bits))
            paint(canvas)
            images[label, i] = canvas.photograph()
    return ImageDataset(
        images=images.reshape(-1, *size),
        labels=np.repeat(np.arange(len(SCENES), dtype=np.int64), per_class),
        classes=tuple(SCENES),
        paths=tuple(f"{split}/{name}/{i:04}" for name in SCENES for i in range(per_class)),
        report=f"{len(SCENES)} scenes, {per_class} pictures of each, drawn with seed {seed} ({split})",
    )
