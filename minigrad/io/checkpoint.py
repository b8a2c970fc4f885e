"""Checkpoints: named tensors and a description of them, in one .npz file that numpy can read.

An .npz file is an uncompressed zip archive with one array in numpy's .npy format an entry. Here one entry more,
`__metadata__`, holds the description as JSON text. Nothing in the format can run code when it is read.
"""

import json
import math
import os
import zipfile
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from minigrad.creation import asarray
from minigrad.errors import ArgumentError, DataError
from minigrad.io.atomic import atomic_write
from minigrad.tensor import Tensor

METADATA = "__metadata__"

MAX_METADATA = 2**20
"""Bytes of JSON: what is made of it takes up to 30 times as many."""

PART = 2**18
"""Bytes that are read at once."""

MAX_NAME = 2**16 - 1
"""Bytes in the name of an entry of a zip archive."""


def save_checkpoint(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor | np.ndarray], metadata: Mapping[str, Any]
) -> None:
    """Write tensors and what is to be known of them into one .npz file, whole or not at all.

    The same tensors and metadata give the same bytes.

    Parameters
    ----------
    path
        The file to write or replace; its folder must exist.
    tensors
        By name: printable characters but the backslash, at most 65,531 bytes in UTF-8, and not `__metadata__`.
    metadata
        Whatever JSON can say in 1 MiB.

    Raises
    ------
    ArgumentError
        If the metadata is not JSON, or a tensor has no such name.
    DataError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_checkpoint(f"{folder}/model.npz", {"weight": mg.ones(2)}, {"epoch": 3})
    ...     load_checkpoint(f"{folder}/model.npz")
    ({'weight': tensor([1., 1.])}, {'epoch': 3})
    """
    for name in tensors:
        known = isinstance(name, str) and name.isprintable() and "\\" not in name
        if not known or name == METADATA or len(f"{name}.npy".encode()) > MAX_NAME:
            raise ArgumentError(f"save_checkpoint: a tensor cannot be called {name!r}")
    try:
        text = json.dumps(dict(metadata)).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ArgumentError(f"save_checkpoint: the metadata cannot be written as JSON: {error}") from error
    if len(text) > MAX_METADATA:
        raise ArgumentError(f"save_checkpoint: the metadata has more than {MAX_METADATA >> 20} MiB as JSON")
    arrays = {name: asarray(value).detach().numpy() for name, value in tensors.items()}
    with atomic_write(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in {METADATA: np.array(text), **arrays}.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def load_checkpoint(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_checkpoint` wrote. The file is not trusted: its tensors take no more memory than it is long.

    Returns
    -------
    tensors, metadata : dict
        As they were saved; a tuple in the metadata comes back as a list.

    Raises
    ------
    DataError
        If the file is missing, damaged, or no checkpoint.
    """
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise DataError("it is compressed")
            if any(entry.comment for entry in entries):
                raise DataError("an entry has a comment, which may hide the next one")
            if sum(entry.file_size for entry in entries) > os.fstat(file.fileno()).st_size:
                raise DataError("its entries overlap")
            arrays = {}
            for entry in entries:
                with archive.open(entry) as opened:
                    arrays[entry.filename.removesuffix(".npy")] = _read_array(opened, entry.file_size)
        if METADATA not in arrays:
            raise DataError(f"it has no {METADATA}")
        text = arrays.pop(METADATA).item()
        if len(text) > MAX_METADATA:
            raise DataError(f"its metadata has more than {MAX_METADATA >> 20} MiB")
        metadata = json.loads(text)
        if not isinstance(metadata, dict):
            raise DataError("its metadata is not a JSON object")
        return {name: asarray(array) for name, array in arrays.items()}, metadata
    except OSError as error:
        raise DataError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error
    except DataError as error:
        raise DataError(f"{path} is no checkpoint: {error}") from error
    except Exception as error:  # zipfile, numpy and json each have several classes for damage
        raise DataError(f"{path} is no checkpoint, or a damaged one") from error


def _read_array(file: IO[bytes], size: int) -> np.ndarray:
    """Read an entry of `size` bytes; numpy's own reader would first allocate whatever shape the header claims."""
    version = np.lib.format.read_magic(file)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, fortran_order, dtype = read_header(file)
    if dtype.hasobject:
        raise DataError("it holds Python objects")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != size - file.tell():
        raise DataError("an array has not the size that it claims")
    data = np.empty(size - file.tell(), np.uint8)
    for start in range(0, data.size, PART):  # zipfile holds what it reads twice
        part = data[start : start + PART]
        read = file.read(part.size)
        if len(read) != part.size:
            raise DataError("an array is cut off")
        part[:] = np.frombuffer(read, np.uint8)
    return data.view(dtype).reshape(shape, order="F" if fortran_order else "C")
