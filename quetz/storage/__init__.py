"""The object store: immutable bytes named by their hash, and index files that can be rebuilt."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from quetz.storage.keys import StoreKey
from quetz.storage.staging import Stage, StagedFile

__all__ = ["ObjectStore", "Slice", "Stage", "StagedFile", "StoreKey"]


@dataclass(frozen=True)
class Slice:
    """Bytes ``start`` to ``end`` of an index file."""

    key: StoreKey
    start: int
    end: int


class ObjectStore(Protocol):
    """Where bytes are kept. Any number of threads and processes may share one store.

    Objects are durable and never change; index files are a cache, which may be lost or torn by
    a power cut. A store that is sent to another process (pickled) opens there anew, with a staging
    area of that process. Each method may raise StorageFull or StoreUnavailable.
    ``testing/stores.py`` is the suite that every driver passes.
    """

    def stage(self) -> Stage:
        """Open a new, empty file on this server's disk, to be put or discarded."""

    def remove_dead_stages(self) -> None:
        """Remove the stages of processes that were killed."""

    def put(self, stage: Stage, key: StoreKey) -> None:
        """Keep a stage's bytes under their hash; on return they are durable and visible.

        The stage is finished if it was not, and used up. Nobody ever sees a part of an object.
        An object that is there already is replaced: it may have been damaged meanwhile.

        Raises:
            ValueError: ``key`` is not that of the bytes.
        """

    def put_many(self, files: Sequence[StagedFile]) -> None:
        """Keep each file under its hash, as ``put`` does; on return all are durable and visible.

        It takes few waits for the disk, where ``put`` takes one or two for each object. After a
        failure some may be visible, each of them whole. The files that were put are used up.
        """

    def size(self, key: StoreKey) -> int | None:
        """Return the size in bytes; None where there is no such object or index file."""

    def has_all(self, keys: Iterable[StoreKey]) -> bool:
        """Say whether each key is that of an object or index file that is there."""

    def open_file(self, key: StoreKey) -> BinaryIO:
        """Open for reading; what was opened can be read to its end even if it is deleted.

        Raises:
            ObjectMissing: there is no such object or index file.
        """

    def path(self, key: StoreKey) -> Path | None:
        """Return the file's path on local disk, by which a server can send it.

        None says only that it cannot be sent so: ``open_file`` gives the bytes, or says that there
        are none.
        """

    def delete(self, key: StoreKey) -> None:
        """Remove an object; that it is not there is fine."""

    def set_aside(self, key: StoreKey) -> str | None:
        """Move an object, whose bytes are not those of its hash, to where nobody is served from it.

        Return the name that it has in the store from now on; None if its bytes are right, or it
        is not there. The bytes are read once more for that.
        """

    def list_objects(self) -> Iterator[tuple[str, int]]:
        """Yield the sha256 and size of each object, in no order.

        What is put or deleted meanwhile may be left out or not.
        """

    def write_index(self, key: StoreKey, parts: bytes | Iterable[bytes | Slice]) -> None:
        """Write an index file: a reader sees the old bytes or the new. Not durable.

        Slices are of other index files, and are copied where they lie, as far as the store can.

        Raises:
            ValueError: ``key`` is an object's.
            ObjectMissing: a file is not there, or too short, of which a slice was to be copied.
        """

    def read_index(self, key: StoreKey) -> bytes | None:
        """Return the bytes of an index file; None where there is none."""

    def delete_index(self, key: StoreKey) -> None:
        """Remove an index file; that it is not there is fine."""

    def list_index(self, channel_id: int | None = None) -> Iterator[str]:
        """Yield the keys of index files, of one channel or of all, in no order."""

    def check(self) -> None:
        """Return if the store takes bytes.

        Raises:
            StorageFull, StoreUnavailable: it does not.
        """

    def close(self) -> None:
        """Let go of what the store holds, and discard its stages. Repeatable."""
