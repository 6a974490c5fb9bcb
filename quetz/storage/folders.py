"""Folders by descriptor: what is opened below one follows no symbolic link out of it."""

import ctypes
import os
import platform
import re
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FOLDER_MODE = 0o755  # less the umask, as FILE_MODE
FILE_MODE = 0o644
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# O_NONBLOCK: a named pipe in the place of a file must not block who opens it.
READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_COPIED = 1 << 18
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LIBC = ctypes.CDLL(None, use_errno=True)
# Older kernels keep it to themselves that bytes could not be written (syncfs(2), "ERRORS").
_RELEASE = re.match(r"(\d+)\.(\d+)", platform.release())
_TELLS_FAILURES = (
    sys.platform == "linux"
    and _RELEASE is not None
    and tuple(map(int, _RELEASE.groups())) >= (5, 8)
)


def open_root(path: Path) -> int:
    """Open the folder at ``path``; the operator may have made it a link."""
    return os.open(path, _FOLDER)


@contextmanager
def folder_below(root: int, parts: Iterable[str], *, make: bool = False) -> Iterator[int]:
    """Open the folder ``parts`` below ``root``, each part a real folder; ``make`` those missing."""
    folder = os.dup(root)
    try:
        for part in parts:
            try:
                inner = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            except FileNotFoundError:
                if not make:
                    raise
                make_folder(folder, part)
                inner = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)


def make_folder(parent: int, name: str) -> None:
    """Make a folder unless it exists. It is durable once ``parent`` is fsynced."""
    with suppress(FileExistsError):
        os.mkdir(name, FOLDER_MODE, dir_fd=parent)


def sync(path: Path) -> None:
    """Make a file's bytes durable, or the names in a folder."""
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def write_all(file: int, data: bytes) -> None:
    """Write all of ``data``: one call may take a part only, as when the disk fills up."""
    written = os.write(file, data)
    while written < len(data):
        written += os.write(file, memoryview(data)[written:])


def write_private(path: Path, content: bytes) -> None:
    """Write a new, durable file that only its owner may read: it holds secrets."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        write_all(file, content)
        os.fsync(file)
    finally:
        os.close(file)


def plain_file_size(folder: int, name: str) -> int | None:
    """Return the size of a file; None where there is none, or something else, such as a link."""
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def copy_bytes(source: int, target: int, start: int, end: int) -> bool:
    """Append bytes of one file to another; False when the source has too few.

    The kernel copies where it can, and some file systems share the blocks.
    """
    while start < end:
        try:
            copied = os.copy_file_range(source, target, end - start, start)
        except OSError:  # it cannot, or something is wrong, which the next call will say
            copied = os.write(target, os.pread(source, min(end - start, _COPIED), start))
        if not copied:
            return False
        start += copied
    return True


def make_durable(root: int, paths: Iterable[Path]) -> None:
    """Make files and folders durable, all of one file system, which ``root`` is on.

    One wait for the disk serves any number of them. ``root`` was opened before they were written.
    """
    if _TELLS_FAILURES:
        if _LIBC.syncfs(root) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return
    for path in paths:
        file = os.open(path, READING)
        try:
            os.fsync(file)
        finally:
            os.close(file)
