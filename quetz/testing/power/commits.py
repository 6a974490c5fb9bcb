"""The store beside a database that keeps all commits, as PostgreSQL on disks of its own does."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, event, select

from quetz.db.models import File
from quetz.storage.keys import object_key
from quetz.testing.power.disks import Loss, Mark, Sync
from quetz.testing.power.recorder import Recording


@dataclass(frozen=True)
class Committed:
    """The SHA-256 of the files that the database has rows of, from now on."""

    hashes: frozenset[str]


@contextmanager
def marking_commits(engine: Engine, recording: Recording) -> Iterator[None]:
    """Mark each commit: right before it, for the store must have by then what it names."""

    def mark(connection: Connection) -> None:
        hashes = frozenset(connection.scalars(select(File.sha256)))
        recording.mark(Committed(hashes))

    event.listen(engine, "commit", mark)
    try:
        yield
    finally:
        event.remove(engine, "commit", mark)


def check_commits(recording: Recording, *, seed: int = 0) -> Iterator[list[str]]:
    """Yield, for each cut, which objects of committed rows the store has lost."""
    disk, hashes = recording.replayed(), frozenset[str]()
    for number, effect in enumerate([*recording.effects, Sync(None)]):
        if isinstance(effect, Sync):
            for loss in Loss:
                left = disk.after(loss, seed * 1_000_003 + number)
                yield [f"object {one}" for one in sorted(hashes) if not _holds(left, one)]
        elif isinstance(effect, Mark) and isinstance(effect.what, Committed):
            hashes = effect.what.hashes
        disk.take(effect)


def _holds(left: Mapping[str, bytes | None], sha256: str) -> bool:
    content = left.get(f"store/{object_key(sha256)}")
    return content is not None and hashlib.sha256(content).hexdigest() == sha256
