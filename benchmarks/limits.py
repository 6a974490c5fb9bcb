"""Limits: the least that a task must do, done by nothing else, to compare the server with."""

import hashlib
import io
import os
import sqlite3
import tarfile
import time
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import zstandard

PIECE = 1 << 20


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


class Database:
    """A SQLite database whose every commit is on disk, as the server's is."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute("CREATE TABLE records (id INTEGER PRIMARY KEY, record TEXT)")

    def commit(self, record: str) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute("INSERT INTO records (record) VALUES (?)", (record,))
        self._connection.execute("COMMIT")

    def close(self) -> None:
        self._connection.close()


def hash_twice(data: bytes) -> None:
    hashlib.sha256(data).digest()
    hashlib.md5(data, usedforsecurity=False).digest()


def hash_pieces(algorithm: str, data: bytes, size: int) -> None:
    """Hash ``size`` bytes, piece by piece, out of ``data``."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    for piece in _pieces(data, size):
        digest.update(piece)
    digest.digest()


def write_pieces(path: Path, data: bytes, size: int) -> None:
    """Write ``size`` bytes, piece by piece, out of ``data``, without waiting for the disk."""
    with path.open("wb", buffering=0) as file:
        for piece in _pieces(data, size):
            file.write(piece)


def flush(path: Path) -> None:
    """Wait until the bytes of a file are on disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def write_durably(path: Path, data: bytes) -> None:
    """Write a new file under its final name, with its bytes and its name on disk."""
    part = path.with_suffix(".part")
    with part.open("wb", buffering=0) as file:
        file.write(data)
        os.fsync(file.fileno())
    part.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_cache(path: Path, data: bytes) -> None:
    """Write a file that may be lost in a crash of the machine, as index files are."""
    part = path.with_suffix(".part")
    part.write_bytes(data)
    part.rename(path)


def compress(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=3).compress(data)


def read_info(path: Path) -> bytes:
    """Return ``info/index.json`` of a ``.conda``, by the shortest way there is."""
    with zipfile.ZipFile(path) as archive:
        info = next(name for name in archive.namelist() if name.startswith("info-"))
        packed = archive.read(info)
    with closing(zstandard.ZstdDecompressor().stream_reader(packed)) as unpacked:
        tar = tarfile.open(fileobj=io.BytesIO(unpacked.read()))  # noqa: SIM115  it holds no file
    member = tar.extractfile("info/index.json")
    assert member is not None
    return member.read()


def _pieces(data: bytes, size: int) -> list[memoryview]:
    view = memoryview(data)
    pieces = [view[start : start + PIECE] for start in range(0, len(data), PIECE)]
    count = -(-size // PIECE)
    return (pieces * (count // len(pieces) + 1))[:count]
