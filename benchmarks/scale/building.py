"""Build all indexes of a channel from nothing, or do each part of that by itself.

``python -m benchmarks.scale.building whole|parts deployment channel-id`` says ``ready`` when it
has opened what it needs, waits for a line, and prints the seconds as JSON: ``{"whole": 7.1}``.
"""

import json
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import TypeVar

from benchmarks import limits
from benchmarks.records import SUBDIR
from benchmarks.scale.bench import mark_everything
from quetz.conda import pieces, shard_indexes
from quetz.conda.channeldata import encode_entry
from quetz.conda.shards import encode_shard, encode_shard_index
from quetz.conda.zstd import compress
from quetz.deployment import Deployment
from quetz.services.index_builds import SHARD_LEVEL
from quetz.testing.publishing import publish_all

# Of what is packed piece by piece; whole documents have other levels.
PIECE_SIZE = pieces.TARGET
PIECE_LEVEL = pieces.LEVEL

T = TypeVar("T")
Row = tuple[str, str, str, str, str]
"""Name, file name, record, run_exports, about."""


def forget_indexes(path: Path, channel_id: int) -> None:
    """Let nothing of a channel be published, as before its first index."""
    shutil.rmtree(path / "store" / "index" / str(channel_id), ignore_errors=True)
    with closing(sqlite3.connect(path / "quetz.sqlite")) as database, database:
        for table in ("index_state", "index_superseded", "index_dirty"):
            database.execute(f"DELETE FROM {table} WHERE channel_id = ?", (channel_id,))


def build_whole(path: Path, channel_id: int) -> dict[str, float]:
    forget_indexes(path, channel_id)
    with closing(Deployment.open(path)) as deployment:
        with deployment.transaction(write=True) as session:
            mark_everything(session, channel_id)
        _wait_for_start()
        return {"whole": limits.seconds(lambda: publish_all(deployment))}


def build_parts(path: Path, channel_id: int) -> dict[str, float]:
    target = path.with_name("parts")
    target.mkdir()
    parts = _Parts()
    with closing(sqlite3.connect(path / "quetz.sqlite")) as database:
        _wait_for_start()
        rows = parts.time("rows", lambda: database.execute(_ROWS, (channel_id, SUBDIR)).fetchall())
    files = parts.time("shards", lambda: dict(_shards(rows)))
    files |= parts.time("repodata", lambda: _pieces("repodata", _records(rows)))
    files |= parts.time("run_exports", lambda: _pieces("run_exports", _run_exports(rows)))
    files |= parts.time("channeldata", lambda: _pieces("channeldata", _entries(rows)))
    parts.time("writing", lambda: _write(target, files))
    shutil.rmtree(target)
    return parts.seconds


_ROWS = """
SELECT name, filename, record, run_exports, about FROM files
WHERE channel_id = ? AND subdir = ? ORDER BY name, filename
"""


class _Parts:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def time(self, name: str, work: Callable[[], T]) -> T:
        started = time.perf_counter()
        result = work()
        self.seconds[name] = time.perf_counter() - started
        return result


def _of_names(rows: Iterable[Row]) -> Iterator[tuple[str, list[Row]]]:
    for name, some in groupby(rows, key=lambda row: row[0]):
        yield name, list(some)


def _shards(rows: Iterable[Row]) -> Iterator[tuple[str, bytes]]:
    shards = {}
    for name, some in _of_names(rows):
        files = [(filename, record, exports) for _, filename, record, exports, _ in some]
        data = compress(encode_shard(files), SHARD_LEVEL)
        digest = sha256(data)
        shards[name] = digest.digest()
        yield f"{digest.hexdigest()}.msgpack.zst", data
    yield "index", compress(encode_shard_index(SUBDIR, 0, shards), shard_indexes.LEVEL)


def _records(rows: Iterable[Row]) -> Iterator[str]:
    for _, filename, record, _, _ in rows:
        yield f'"{filename}":{record}'


def _run_exports(rows: Iterable[Row]) -> Iterator[str]:
    for _, filename, _, exports, _ in rows:
        yield f'"{filename}":{{"run_exports":{exports}}}'


def _entries(rows: Iterable[Row]) -> Iterator[str]:
    for name, some in _of_names(rows):
        files = [(SUBDIR, record, about, exports) for _, _, record, exports, about in some]
        yield f'"{name}":{encode_entry(files).decode()}'


def _pieces(form: str, texts: Iterable[str]) -> dict[str, bytes]:
    """Return the file of a form: its members, packed piece by piece."""
    packed, piece, size = [], [], 0
    for text in texts:
        piece.append(text)
        size += len(text)
        if size >= PIECE_SIZE:
            packed.append(compress(",".join(piece).encode(), PIECE_LEVEL))
            piece, size = [], 0
    packed.append(compress(",".join(piece).encode(), PIECE_LEVEL))
    return {form: b"".join(packed)}


def _write(target: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        limits.write_cache(target / name, data)


def _wait_for_start() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


def main() -> None:
    build = {"whole": build_whole, "parts": build_parts}[sys.argv[1]]
    print(json.dumps(build(Path(sys.argv[2]), int(sys.argv[3]))))


if __name__ == "__main__":
    main()
