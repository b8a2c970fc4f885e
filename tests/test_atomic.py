"""atomic_write: the whole new file or the untouched old one, and never a file left over."""

import errno
import os
import stat
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad.errors import ArgumentError, DataError
from minigrad.io.atomic import atomic_write

OLD = b"the old file"


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "result.bin"
    path.write_bytes(OLD)
    return path


def write_new(path, mode="wb"):
    with atomic_write(path, mode) as file:
        file.write(b"new")


def assert_untouched(target):
    assert target.read_bytes() == OLD
    assert list(target.parent.iterdir()) == [target]


@given(data=st.binary(max_size=10_000))
@settings(deadline=None, max_examples=20)
def test_bytes_come_back(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("bytes") / "new"
    with atomic_write(path) as file:
        file.write(data)
    assert path.read_bytes() == data
    assert list(path.parent.iterdir()) == [path]


def test_text_is_utf8_with_unix_line_ends(target):
    with atomic_write(str(target), "w") as file:
        file.write("né\n")
    assert target.read_bytes() == "né\n".encode()


def test_file_is_seekable(target):
    with atomic_write(target) as file:
        file.write(b"0123")
        file.seek(0)
        file.write(b"x")
    assert target.read_bytes() == b"x123"


def test_old_file_stands_until_the_block_ends(target):
    with atomic_write(target) as file:
        file.write(b"new")
        file.flush()
        assert target.read_bytes() == OLD
    assert target.read_bytes() == b"new"


def test_data_reach_the_disk_before_the_name_does(target, monkeypatch):
    steps = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append(os.fstat(fd).st_size), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (steps.append("replace"), replace(a, b)))
    with atomic_write(target) as file:
        file.write(b"12345")
    assert steps == [5, "replace"]


def test_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with atomic_write("here") as file:
        file.write(b"new")
    assert (tmp_path / "here").read_bytes() == b"new"


def test_writers_of_one_file_do_not_meet(target):
    with atomic_write(target) as first, atomic_write(target) as second:
        first.write(b"first")
        second.write(b"second")
    assert target.read_bytes() == b"first"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_exception_in_the_block_passes_through(target, kind):
    def stop():
        raise kind("stop")

    with pytest.raises(kind, match="stop"), atomic_write(target):
        stop()
    assert_untouched(target)


def test_file_errors_of_the_block_stay_its_own(target, tmp_path):
    with pytest.raises(FileNotFoundError), atomic_write(target):
        (tmp_path / "missing").read_bytes()
    with pytest.raises(OSError, match="no number") as caught, atomic_write(target):
        raise OSError("no number")
    assert not isinstance(caught.value, DataError)
    assert_untouched(target)


def disk_full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_disk_full_at_the_end(target, monkeypatch, step):
    monkeypatch.setattr(os, step, disk_full)
    with pytest.raises(DataError, match=r"cannot write .*result\.bin: the disk is full$"):
        write_new(target)
    assert_untouched(target)


def test_disk_full_in_the_block(target):
    with pytest.raises(DataError, match=r": the disk is full$"), atomic_write(target):
        disk_full()
    assert_untouched(target)


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_write_that_the_system_refuses(target):
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(DataError, match="cannot write"), atomic_write(target) as file:
            file.write(bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_untouched(target)


def test_missing_folder(tmp_path):
    path = tmp_path / "missing" / "result"
    with pytest.raises(DataError, match=r"cannot write .*result: its folder does not exist$"):
        write_new(path)
    assert list(tmp_path.iterdir()) == []


def test_file_in_place_of_a_folder(target):
    with pytest.raises(DataError, match="cannot write"), atomic_write(target / "inner"):
        pytest.fail("the block must not run")
    assert_untouched(target)


def test_folder_in_place_of_the_file(target):
    with pytest.raises(DataError, match=r"it exists and is no regular file$"), atomic_write(target.parent):
        pytest.fail("the block must not run")
    assert_untouched(target)


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="needs a device file")
def test_device_is_not_replaced():
    with pytest.raises(DataError, match="no regular file"), atomic_write("/dev/null"):
        pytest.fail("the block must not run")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_name_too_long(tmp_path):
    with pytest.raises(DataError, match="cannot write"):
        write_new(tmp_path / ("n" * 300))
    assert list(tmp_path.iterdir()) == []


def test_no_permission(target, monkeypatch):
    def refuse(source, _):
        raise PermissionError(errno.EACCES, "Permission denied", source)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(DataError, match=r"permission denied$"):
        write_new(target)
    assert_untouched(target)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="needs folder permissions that bind")
def test_folder_without_permission(target):
    target.parent.chmod(0o500)
    try:
        with pytest.raises(DataError, match=r"permission denied$"), atomic_write(target):
            pytest.fail("the block must not run")
    finally:
        target.parent.chmod(0o700)
    assert_untouched(target)


def test_symbolic_link_is_followed(target):
    link = target.with_name("link")
    try:
        link.symlink_to(target)
    except OSError:
        pytest.skip("no permission to make symbolic links")
    write_new(link)
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


@pytest.mark.skipif(sys.platform == "win32", reason="permission bits are POSIX")
def test_permissions(target):
    target.chmod(0o640)
    write_new(target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    new, plain = target.with_name("new"), target.with_name("plain")
    write_new(new)
    plain.touch()
    assert new.stat().st_mode == plain.stat().st_mode


def test_mode_is_checked(target):
    with pytest.raises(ArgumentError, match="mode must be 'wb' or 'w', not 'a'"):
        write_new(target, "a")
    assert_untouched(target)
