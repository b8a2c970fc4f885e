"""A canvas for small grey pictures: shapes are masks, textures are arrays, and a camera looks at the result.

The same random numbers give the same picture on every machine. The arithmetic is +, -, *, /, floor and
comparisons, which IEEE 754 rounds in one way only, and the generator is asked for uniform numbers alone.
"""

import numpy as np

MOSAIC = 16
"""A mosaic repeats after so many tones."""


def between(u: np.ndarray, low: float, high: float) -> np.ndarray:
    """Mask of `u` above `low` and below `high`.

    >>> between(np.array([1, 2, 3]), 1, 3)
    array([False,  True, False])
    """
    return (low < u) & (u < high)


def fraction(u: np.ndarray) -> np.ndarray:
    """How far `u` lies above the whole number below it.

    >>> fraction(np.array([-0.25, 0.5, 7]))
    array([0.75, 0.5 , 0.  ])
    """
    return u - np.floor(u)


def dashes(u: np.ndarray, length: float = 0.5) -> np.ndarray:
    """Mask of a dash of `length` at the start of every unit of `u`.

    >>> dashes(np.array([-0.9, -0.1, 0.2, 0.7, 1.2]))
    array([ True, False,  True, False,  True])
    """
    return fraction(u) < length


def tiles(u: np.ndarray, v: np.ndarray, width: float = 0.6, height: float = 0.6) -> np.ndarray:
    """Mask of a box of `width` by `height` in every unit cell of the coordinates (u, v)."""
    return dashes(u, width) & dashes(v, height)


def _centres(n: int) -> np.ndarray:
    return (np.arange(n, dtype=np.float32) + 0.5) / n


def _cells(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cell that each coordinate lies in, counted from the first, and how far across that cell."""
    cell = np.floor(u.ravel())
    return (cell - cell.min()).astype(np.int32), u.ravel() - cell


def _pixel(position: np.ndarray, n: int) -> np.ndarray:
    return np.clip(np.floor(position * n), 0, n - 1).astype(np.int32)


class Canvas:
    """A picture in the making, of a scene one unit wide and one unit high.

    Parameters
    ----------
    size
        Height and width of the finished picture, in pixels.
    rng
        Makes every choice.

    Attributes
    ----------
    x, y
        Where the points lie, (1 w) and (h 1), float32: x from 0 to 1 rightwards, y from 0 to 1 downwards. There are
        two points to a pixel each way; h and w count points wherever they are not the picture's.
    tones
        What is painted so far, (h w), float32: 0 is black and 1 white.
    grit
        A fine noise (h w) in [0, 1), shared by all that is rough in the picture.

    Examples
    --------
    >>> canvas = Canvas((32, 48), np.random.Generator(np.random.Philox(0)))
    >>> canvas.fill(canvas.disc(0.5, 0.5, radius=0.3), 1.0)
    >>> picture = canvas.photograph()
    >>> picture.shape, picture.dtype
    ((32, 48), dtype('uint8'))
    """

    def __init__(self, size: tuple[int, int], rng: np.random.Generator) -> None:
        height, width = 2 * size[0], 2 * size[1]  # four points a pixel: smooth edges
        self.rng = rng
        self.x = _centres(width)[None, :]
        self.y = _centres(height)[:, None]
        self.tones = np.zeros((height, width), np.float32)
        self.grit = self.noise(24 * self.x, 24 * self.y)

    # chance

    def pick(self, low: float, high: float) -> float:
        """Choose a number between `low` and `high`."""
        return low + (high - low) * self.rng.random()

    def count(self, low: int, high: int) -> int:
        """Choose a whole number from `low` to `high`, both included."""
        return low + int(self.pick(0, high - low + 1))

    def chance(self, probability: float) -> bool:
        """Decide whether something happens."""
        return self.rng.random() < probability

    def palette(self, n: int) -> list[float]:
        """Choose `n` tones, no two alike, in random order: it may be day or night, in sun or shadow."""
        order = np.argsort(self.rng.random(n), kind="stable").tolist()
        return [(k + self.pick(0.15, 0.85)) / n for k in order]

    # shapes

    def box(self, x: float, top: float, bottom: float, half: float) -> np.ndarray:
        """Mask (h w) of a box that reaches `half` to each side of `x`."""
        return between(self.x, x - half, x + half) & between(self.y, top, bottom)

    def disc(self, x: float, y: float, radius: float, height: float = 0, ragged: float = 0) -> np.ndarray:
        """Mask (h w) of a disc, or of an ellipse where `height`, its rim eaten away where `ragged`."""
        across, down = (self.x - x) / radius, (self.y - y) / (height or radius)
        return across * across + down * down < 1 - ragged * self.grit

    def trapezoid(self, x: float, top: float, bottom: float, upper: float, lower: float) -> np.ndarray:
        """Mask (h w) of a box that reaches `upper` to each side of `x` at its top, `lower` at its bottom."""
        reach = upper + (lower - upper) / (bottom - top) * (self.y - top)
        return (abs(self.x - x) < reach) & between(self.y, top, bottom)

    # perspective

    def ground(self, horizon: float, vanishing: float) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates of the ground below `horizon`, or a ceiling above: sideways (h w), and ahead (h 1)."""
        ahead = 1 / np.maximum(abs(self.y - horizon), 0.01)
        return (self.x - vanishing) * ahead, ahead

    def walls(self, horizon: float, vanishing: float) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates of a wall on either side of `vanishing`: ahead (1 w), and down (h w)."""
        ahead = 1 / np.maximum(abs(self.x - vanishing), 0.01)
        return ahead, (self.y - horizon) * ahead

    # textures

    def noise(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Value noise (h w) in [0, 1): random at the whole points of u (1 w) and v (h 1), blended between."""
        (columns, p), (rows, q) = _cells(u), _cells(v)
        lattice = self.rng.random((int(rows.max()) + 2, int(columns.max()) + 2), np.float32)
        strips = lattice[:, columns] * (1 - p) + lattice[:, columns + 1] * p
        steps = strips[1:] - strips[:-1]
        return strips[rows] + steps[rows] * q[:, None]

    def fractal(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Noise (h w) in [0, 1) at three scales, each twice as fine and half as strong as the one before."""
        coarse, middle, fine = (self.noise(scale * u, scale * v) for scale in (1, 2, 4))
        return (4 * coarse + 2 * middle + fine) / 7

    def ridge(self, humps: float) -> np.ndarray:
        """A rough line (1 w) in [0, 1)."""
        return self.fractal(humps * self.x, np.zeros((1, 1), np.float32))

    def mosaic(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """One random tone for each unit cell of the coordinates (u, v)."""
        tones = self.rng.random((MOSAIC, MOSAIC), np.float32)
        return tones[np.floor(v).astype(np.int32) % MOSAIC, np.floor(u).astype(np.int32) % MOSAIC]

    # paint and light

    def fill(self, mask: np.ndarray | bool, tone: np.ndarray | float) -> None:
        """Cover all that is in `mask` with `tone`; either may be of any shape that broadcasts to (h w)."""
        np.copyto(self.tones, tone, where=mask, casting="same_kind")

    def photograph(self) -> np.ndarray:
        """Take the picture (h w), uint8: from a random viewpoint, in random light, with the camera's grain."""
        seen = self._view()
        u, v = _centres(seen.shape[1]) - 0.5, _centres(seen.shape[0])[:, None] - 0.5
        light = 1 + self.pick(-0.3, 0.3) * u + self.pick(-0.3, 0.3) * v
        grain = self.rng.random(seen.shape, np.float32) - self.rng.random(seen.shape, np.float32)
        contrast, brightness = self.pick(0.8, 1.1), self.pick(0.4, 0.6)
        seen = (seen * light - 0.5) * contrast + brightness + self.pick(0.01, 0.05) * grain
        return np.floor(np.clip(seen, 0, 1) * 255 + 0.5).astype(np.uint8)

    def _view(self) -> np.ndarray:
        """What the camera sees, (h w) at the size of the picture: a homography of the scene.

        Shift, zoom, roll, turn and tilt are random; half of all views are mirrored.
        """
        u, v = self.x - 0.5, self.y - 0.5
        scale = self.pick(0.8, 1) / (1 + self.pick(-0.25, 0.25) * u + self.pick(-0.2, 0.2) * v)
        roll, side = self.pick(-0.08, 0.08), 1 if self.chance(0.5) else -1
        across = self.pick(0.44, 0.56) + side * scale * (u - roll * v)
        down = self.pick(0.44, 0.56) + scale * (v + roll * u)
        seen = self.tones[_pixel(down, self.y.size), _pixel(across, self.x.size)]
        seen = (seen[::2] + seen[1::2]) / 2
        return (seen[:, ::2] + seen[:, 1::2]) / 2
