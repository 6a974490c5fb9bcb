"""Receiving files of a folder: copied into the staging area, hashed and read, beside each other.

What a file takes here is processor time, so it is done by as many processes as there are
processors. They import no more than they need, for each of them has to start first.
"""

import atexit
import gc
import hashlib
import io
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from quetz.conda.archives import PackageArchive, read_opened_archive
from quetz.conda.channel_folders import FolderFile
from quetz.conda.filenames import PackageFilename
from quetz.conda.patches import patches_package, read_patches
from quetz.errors import BadFilename, Invalid, QuetzError, UploadTooLarge
from quetz.errors.folders import FileUnreadable, ListedOtherwise, OtherSubdir
from quetz.storage import ObjectStore, StagedFile

PIECE = 1 << 20

ENOUGH_FOR_PROCESSES = 500
"""Files for which it pays to start processes, each of which takes a tenth of a second."""

HEAVIEST = 24
"""Bytes of memory that a byte of JSON may take: those of ``[],`` do."""

OBJECTS = 20_000
"""Objects made between two searches for garbage; what is read of an archive leaves none."""


@dataclass(frozen=True)
class Candidate:
    """A file to receive; ``held`` is the sha256 of what the channel has by its name, if any."""

    file: FolderFile
    held: str | None


@dataclass(frozen=True)
class Rules:
    """What holds for each file as for an upload to ``channel``; ``upload_size`` is in bytes."""

    channel: str
    upload_size: int


@dataclass(frozen=True)
class Arrival:
    """A sound file in the staging area; ``weight`` is the memory that its metadata take."""

    staged: StagedFile
    archive: PackageArchive
    weight: int


Result = Arrival | QuetzError | None
"""An error refuses the file; None: the channel holds the same bytes by the same name."""

Receive = Callable[[Sequence[Candidate]], Future[list[Result]]]


@contextmanager
def receivers(store: ObjectStore, rules: Rules, files: int) -> Iterator[Receive]:
    """Start what receives ``files`` files into a staging area of ``store``.

    Raises:
        StorageFull, StoreUnavailable: in a future, when files cannot be staged.
    """
    pool: Executor
    if files < ENOUGH_FOR_PROCESSES:
        with ThreadPoolExecutor(1, "receive") as pool:
            yield lambda candidates: pool.submit(receive_all, store, rules, candidates)
        return
    context = multiprocessing.get_context("spawn")  # this process has threads: it may not fork
    count = len(os.sched_getaffinity(0))
    pool = ProcessPoolExecutor(count, context, initializer=_begin, initargs=(store, rules))
    try:
        yield lambda candidates: pool.submit(_receive_all, candidates)
    finally:
        pool.shutdown(cancel_futures=True)


def receive_all(store: ObjectStore, rules: Rules, candidates: Sequence[Candidate]) -> list[Result]:
    return [_receive(store, rules, candidate) for candidate in candidates]


def _receive(store: ObjectStore, rules: Rules, candidate: Candidate) -> Result:
    file = candidate.file
    # What the channel holds already may be larger: the limit was another then.
    if candidate.held is None and file.size > rules.upload_size:
        return UploadTooLarge("the file", rules.upload_size)
    try:
        name = PackageFilename.parse(file.filename)
        staged, data = _stage(store, candidate)
    except (BadFilename, FileUnreadable) as error:
        return error
    except OSError as error:  # the store's are translated
        return FileUnreadable(error.strerror or type(error).__name__)
    if staged is None:
        return None
    try:
        _check_listed(file, staged)
        with io.BytesIO(data) if data is not None else staged.path.open("rb") as opened:
            archive = read_opened_archive(opened, name)
            if name.name == patches_package(rules.channel):
                opened.seek(0)
                read_patches(opened, file.filename)
        if archive.subdir != file.subdir:
            raise OtherSubdir(archive.subdir)
    except Invalid as error:
        staged.discard()
        return error
    return Arrival(staged, archive, _weight(archive))


def _weight(archive: PackageArchive) -> int:
    documents = [archive.index, archive.run_exports, archive.about]
    return HEAVIEST * len(msgspec.json.encode(documents))


def _stage(store: ObjectStore, candidate: Candidate) -> tuple[StagedFile | None, bytes | None]:
    """Copy the file into the staging area, unless it is what the channel holds.

    Return its bytes, too, if they came at once.

    Raises:
        FileUnreadable: it is a folder, a pipe or the like.
    """
    if not candidate.file.path.is_file():  # to open a pipe would wait for who writes to it
        raise FileUnreadable("it is no file")
    with candidate.file.path.open("rb", buffering=0) as source:
        if candidate.held is not None:
            if hashlib.file_digest(source, "sha256").hexdigest() == candidate.held:
                return None, None
            source.seek(0)
        # A small file gets a small buffer: to make a large one takes longer than to read it.
        at_once = min(PIECE, candidate.file.size + 1)
        whole: bytes | None = b""
        with store.stage() as stage:
            while piece := source.read(at_once):
                stage.write(piece)
                whole = piece if stage.size == len(piece) else None
            return stage.leave(), whole


def _check_listed(file: FolderFile, staged: StagedFile) -> None:
    if file.listed is None:
        return
    for key in ("size", "sha256", "md5"):
        said, found = getattr(file.listed, key), getattr(staged, key)
        if said is not None and str(said).lower() != str(found):
            raise ListedOtherwise(key, said, found)


# In a process of the pool

_store: ObjectStore
_rules: Rules


def _begin(store: ObjectStore, rules: Rules) -> None:
    global _store, _rules
    _store, _rules = store, rules
    gc.set_threshold(OBJECTS)
    atexit.register(store.close)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Leave with the process that started this one, even if that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _receive_all(candidates: Sequence[Candidate]) -> list[Result]:
    return receive_all(_store, _rules, candidates)
