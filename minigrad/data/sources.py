"""The files of a folder or a zip archive, listed and read without trusting any path in it.

Nothing is unpacked to disk, and nothing outside the source is opened.
"""

import os
import stat
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, NoReturn

from minigrad.errors import DataError

MAX_FILE_BYTES = 2**26
"""Larger files are refused: an archive of a few kilobytes can claim to unpack to terabytes."""


@dataclass(frozen=True)
class Source:
    """The files of one folder or archive.

    Attributes
    ----------
    names
        Sorted paths inside the source, with forward slashes.
    refused
        The reason for each path that is never read.
    read
        The bytes of one of `names`; raises `DataError`. Threads may call it at the same time.
    """

    names: tuple[str, ...]
    refused: dict[str, str]
    read: Callable[[str], bytes]


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a folder or a zip archive for reading.

    Raises
    ------
    DataError
        If the path does not exist, is neither a folder nor a zip archive, or cannot be opened.
    """
    with ExitStack() as stack:
        try:
            if path.is_dir():
                source = _folder(path)
            elif path.exists():
                source = _archive(stack.enter_context(zipfile.ZipFile(path)))
            else:
                parent = path.parent
                found = f"; {str(parent)!r} holds {listing(os.listdir(parent))}" if parent.is_dir() else ""
                raise DataError(f"there is no file or folder {str(path)!r}{found}")
        except DataError:
            raise
        except OSError as error:
            raise DataError(f"{str(error.filename or path)!r} cannot be opened: {error.strerror}") from error
        except Exception as error:  # a damaged table of contents breaks zipfile in many ways
            raise DataError(f"{str(path)!r} is neither a folder nor an intact zip archive: {error}") from error
        yield source


def read_limited(file: IO[bytes]) -> bytes:
    """Read a whole file of at most `MAX_FILE_BYTES`; raises `DataError` if it is longer."""
    data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise DataError(f"the file has more than {MAX_FILE_BYTES >> 20} MiB")
    return data


def listing(names: Iterable[str], most: int = 8) -> str:
    """Write the first few names, quoted, with the number of all of them.

    >>> listing(["b", "a"]), listing([]), listing(list("abcd"), most=2)
    ("'a', 'b'", 'nothing', "'a', 'b', ... (4 in all)")
    """
    names = sorted(names)
    text = ", ".join(map(repr, names[:most]))
    return f"{text}, ... ({len(names)} in all)" if len(names) > most else text or "nothing"


def _folder(path: Path) -> Source:
    root = Path(os.path.realpath(path))
    names, refused = [], {}
    for folder, subfolders, files in os.walk(root, onerror=_raise):
        for entry in (Path(folder, name) for name in (*subfolders, *files)):
            name = entry.relative_to(root).as_posix()
            if not Path(os.path.realpath(entry)).is_relative_to(root):
                refused[name] = "it is a link out of the folder"
            elif entry.is_file():
                names.append(name)
            elif entry.is_symlink() or not entry.is_dir():
                refused[name] = "it is no ordinary file or folder"

    def read(name: str) -> bytes:
        try:
            with open(root / name, "rb") as file:
                return read_limited(file)
        except OSError as error:
            raise DataError(f"the file cannot be opened: {error.strerror}") from error

    return Source(tuple(sorted(names)), refused, read)


def _raise(error: OSError) -> NoReturn:
    raise error


def _archive(archive: zipfile.ZipFile) -> Source:
    members, refused = {}, {}
    for member in archive.infolist():
        filename = member.filename.replace("\\", "/")  # some archivers on Windows write backslashes
        if filename.endswith("/"):
            continue
        path = PurePosixPath(filename)
        if reason := _untrusted(path, member):
            refused[str(path)] = reason
        else:
            members[str(path)] = member
    lock = threading.Lock()

    def read(name: str) -> bytes:
        try:
            with lock, archive.open(members[name]) as file:
                return read_limited(file)
        except DataError:
            raise
        except Exception as error:  # checksum, stream, password, version: zipfile has one class for each
            raise DataError(f"the archive cannot give the file: {error}") from error

    return Source(tuple(sorted(members)), refused, read)


def _untrusted(path: PurePosixPath, member: zipfile.ZipInfo) -> str:
    """Why this member is not read, or nothing."""
    if PureWindowsPath(path).anchor or ".." in path.parts:
        return "its path leads out of the archive"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "it is a symbolic link"
    # Only these two unpack no further than they are asked to, so only they cannot fill the memory.
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "its compression is not the usual one (deflate)"
    return ""
