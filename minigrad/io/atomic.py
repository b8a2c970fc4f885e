"""Replace a file whole or not at all."""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, Literal

from minigrad.errors import ArgumentError, DataError

_REASONS = {
    errno.ENOENT: "its folder does not exist",
    errno.ENOTDIR: "a part of its path is a file",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the disk is read-only",
    errno.ENOSPC: "the disk is full",
    errno.ENAMETOOLONG: "its name is too long",
}


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: Literal["wb", "w"] = "wb") -> Iterator[IO[Any]]:
    r"""Open a temporary file beside `path` that takes its place when the block ends.

    Readers see the old file or the new one, never a part of either. An exception in the block, or a crash
    at any moment, leaves the old file as it was. A symbolic link is followed; a replaced file keeps its
    permissions.

    Parameters
    ----------
    path
        The file to write or replace; its folder must exist.
    mode
        `"wb"` for bytes, `"w"` for text, which is UTF-8 with `\n` line ends on every system.

    Yields
    ------
    file
        The open temporary file, seekable and write-only.

    Raises
    ------
    ArgumentError
        If `mode` is another one.
    DataError
        If the file cannot be written: no such folder, no permission, a full disk, or `path` is there and no
        regular file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_write(Path(folder) / "greeting.txt", "w") as file:
    ...         _ = file.write("hello")
    ...     (Path(folder) / "greeting.txt").read_text()
    'hello'
    """
    if mode not in ("wb", "w"):
        raise ArgumentError(f"atomic_write: mode must be 'wb' or 'w', not {mode!r}")
    target = os.path.realpath(path)
    temporary = os.path.join(os.path.dirname(target), f".{secrets.token_hex(8)}.tmp")
    text: dict[str, Any] = {} if mode == "wb" else {"encoding": "utf-8", "newline": "\n"}
    try:
        if os.path.exists(target) and not os.path.isfile(target):
            raise DataError(f"cannot write {path}: it exists and is no regular file")
        with open(temporary, mode.replace("w", "x"), **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(target):
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except OSError as error:
        # A failed write names no file; an error that names another one, or has no number, is the block's own.
        if error.errno is None or error.filename not in (None, temporary):
            raise
        reason = _REASONS.get(error.errno, os.strerror(error.errno).lower())
        raise DataError(f"cannot write {path}: {reason}") from error
    finally:
        with suppress(OSError):
            os.unlink(temporary)
