"""One image file as a grey uint8 array."""

import os
import warnings
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from minigrad.data.sources import read_limited
from minigrad.errors import ArgumentError, DataError

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 2**26
"""Larger images are refused before they are decoded: a small file can claim any number of pixels."""

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


def read_image(file: str | os.PathLike[str] | IO[bytes], size: tuple[int, int] = (64, 64)) -> np.ndarray:
    """Read one image file as `image_folder` reads each of its images.

    The image is turned as its EXIF orientation says, made grey, and resized whatever its aspect ratio.

    - Colours become grey by the luma of ITU-R BT.601, ``0.299 R + 0.587 G + 0.114 B`` (Pillow's mode "L").
    - 16-bit grey levels are scaled to 8 bits, what is transparent shows a white page, and of several frames
      the first counts.
    - Resizing is Pillow's BILINEAR: a triangle filter that widens with the reduction, so that fine detail
      does not alias.
    - A JPEG of at least eight times `size` is decoded at 1/2, 1/4 or 1/8 of its scale, never below four times
      `size`. Photographs then take a third of the time, and grey levels move by about one at most.

    Parameters
    ----------
    file
        A path, or a file opened for reading bytes.
    size
        Height and width of the result, in pixels.

    Returns
    -------
    numpy.ndarray
        (h w), uint8.

    Raises
    ------
    DataError
        If the file is missing, damaged, too large, or no image of a known format.
    ArgumentError
        If `size` is not two positive whole numbers, or `file` is neither a path nor a file.

    Examples
    --------
    >>> import io
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (30, 20), (255, 0, 0)).save(file, "PNG")
    >>> _ = file.seek(0)
    >>> read_image(file, size=(2, 3))
    array([[76, 76, 76],
           [76, 76, 76]], dtype=uint8)
    """
    check_size(size)
    try:
        if isinstance(file, str | os.PathLike):
            with open(file, "rb") as opened:
                data = read_limited(opened)
        elif hasattr(file, "read"):
            data = read_limited(file)
        else:
            raise ArgumentError(f"read_image: a {type(file).__name__} is neither a path nor an open file")
        with warnings.catch_warnings(action="ignore"):
            return decode(data, size)
    except OSError as error:
        raise DataError(f"{str(file)!r} cannot be opened: {error.strerror}") from error
    except DataError as error:
        name = file if isinstance(file, str | os.PathLike) else getattr(file, "name", "the image")
        raise DataError(f"{str(name)!r} cannot be read: {error}") from error


def decode(data: bytes, size: tuple[int, int]) -> np.ndarray:
    """Decode the bytes of an image file, as `read_image` says; a `DataError` gives the reason alone."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not data:
        raise DataError("the file is empty")
    height, width = size
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{image.width}x{image.height} pixels are more than {MAX_PIXELS}")
            enough = 4 * max(size)
            image.draft("L", (enough, enough))
            ImageOps.exif_transpose(image, in_place=True)
            return np.array(_grey(image).resize((width, height), Image.Resampling.BILINEAR))
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"it is no image of a known format ({', '.join(FORMATS)})") from error
    except Exception as error:  # what a damaged file raises inside Pillow is not limited to a few classes
        raise DataError(f"it cannot be decoded: {error}") from error


def check_size(size: Any) -> None:
    """Refuse anything but two positive whole numbers."""
    pair = isinstance(size, tuple | list) and len(size) == 2
    if not pair or not all(isinstance(n, int | np.integer) and not isinstance(n, bool) and n > 0 for n in size):
        raise ArgumentError(f"size is the height and width in pixels, such as (64, 64), not {size!r}")


def _grey(image: "Image.Image") -> "Image.Image":
    from PIL import Image

    if image.mode.startswith("I"):
        levels = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        return Image.fromarray(((levels + 128) // 257).astype(np.uint8))
    if image.mode == "F":
        raise DataError("floating-point pixels have no agreed range of grey levels")
    if image.has_transparency_data:
        page = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(page, image.convert("RGBA"))
    return image.convert("L")
