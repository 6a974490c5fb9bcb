"""Importing the folder of a static channel: received beside each other, recorded in batches."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from quetz.conda.channel_folders import ChannelFolder, FolderFile
from quetz.conda.filenames import name_of_file
from quetz.crashpoints import crashpoint
from quetz.deployment import Deployment
from quetz.errors.folders import ListedAndMissing
from quetz.services import imports as service
from quetz.services import objects
from quetz.services.imports import Import, Refusal, Verdict
from quetz.services.permissions import Principal
from quetz.services.uploads import FORM_WEIGHT, Received
from quetz.worker.receiving import Arrival, Candidate, Result, Rules, receivers

LOOKED_UP: Final = 1_000
"""Files whose names are looked up at once."""

CHUNK: Final = 32
CHUNK_BYTES: Final = 64 << 20
"""What is received at a time."""

AHEAD: Final = 8
"""Chunks that are received while others are recorded."""

BATCH: Final = 256
BATCH_BYTES: Final = 1 << 30
"""What is put into the store at once, and recorded at once if that is quick."""

LEAST: Final = 16
WRITE_SECONDS: Final = 0.05
"""How long a transaction may take, for other writers wait for it; then fewer files are recorded."""


@dataclass
class Report:
    """What an import did: numbers of files, and why others were refused."""

    imported: int = 0
    yanked: int = 0
    unchanged: int = 0
    refused: list[Refusal] = field(default_factory=list)

    @property
    def done(self) -> int:
        return self.imported + self.unchanged + len(self.refused)


def import_folder(
    deployment: Deployment,
    principal: Principal,
    channel_name: str,
    folder: ChannelFolder,
    *,
    watch: Callable[[int, int], None] = lambda _files, _total: None,
) -> Report:
    """Make every file of the folder part of the channel, but for those that break a rule.

    What the channel has already is left as it is, so that an import that was interrupted goes on
    when it is run again. ``watch`` is told how many files are done, of how many.

    Raises:
        ChannelNotFound: there is no such channel.
        StorageFull, StoreUnavailable, DatabaseUnavailable, PluginFailed: what was recorded so far
            stays.
    """
    return _Import(deployment, principal, channel_name, watch).run(folder)


class _Import:
    def __init__(
        self,
        deployment: Deployment,
        principal: Principal,
        channel_name: str,
        watch: Callable[[int, int], None],
    ) -> None:
        self._deployment = deployment
        self._principal = principal
        self._channel_name = channel_name
        self._watch = watch
        self._report = Report()
        self._batch: list[tuple[FolderFile, Arrival]] = []
        self._at_once = BATCH

    def run(self, folder: ChannelFolder) -> Report:
        missing = ListedAndMissing()
        self._report.refused += [Refusal(path, missing) for path in folder.missing]
        self._total = len(folder.files) + len(folder.missing)
        waiting: deque[tuple[list[Candidate], Future[list[Result]]]] = deque()
        rules = Rules(self._channel_name, self._deployment.settings.limits.upload_size)
        with receivers(self._deployment.store, rules, len(folder.files)) as receive:
            for chunk in _chunks(self._candidates(folder.files)):
                waiting.append((chunk, receive(chunk)))
                if len(waiting) > AHEAD:
                    self._take(*waiting.popleft())
            while waiting:
                self._take(*waiting.popleft())
            self._record()
        return self._report

    def _candidates(self, files: Sequence[FolderFile]) -> Iterator[Candidate]:
        """Yield the files, each with what the channel has by its name."""
        for subdir, group in groupby(files, key=lambda file: file.subdir):
            of_subdir = list(group)
            for start in range(0, len(of_subdir), LOOKED_UP):
                some = of_subdir[start : start + LOOKED_UP]
                held = self._held(subdir, some)
                yield from (Candidate(file, held.get(file.filename)) for file in some)

    def _held(self, subdir: str, files: Iterable[FolderFile]) -> dict[str, str]:
        # What has no such name is no package, and refused when it is read.
        places = [(name_of_file(file.filename), file.filename) for file in files]
        with self._deployment.transaction() as session:
            return service.list_held(session, self._channel_name, subdir, places)

    def _take(self, chunk: Sequence[Candidate], received: Future[list[Result]]) -> None:
        for candidate, result in zip(chunk, received.result(), strict=True):
            if isinstance(result, Arrival):
                self._batch.append((candidate.file, result))
            elif result is None:
                self._report.unchanged += 1
            else:
                self._report.refused.append(Refusal(candidate.file.place, result))
        if (
            len(self._batch) >= BATCH
            or sum(arrival.weight for _, arrival in self._batch) >= FORM_WEIGHT
            or sum(arrival.staged.size for _, arrival in self._batch) >= BATCH_BYTES
        ):
            self._record()
        self._watch(self._report.done, self._total)

    def _record(self) -> None:
        """Put and record what was received."""
        if not self._batch:
            return
        batch, self._batch = self._batch, []
        staged = {file.place: arrival.staged for file, arrival in batch}
        deployment, channel_name = self._deployment, self._channel_name
        with deployment.transaction() as session:
            verdict = service.sort_out(
                session, self._principal, channel_name, [_import_of(*one) for one in batch]
            )
            service.ask_plugins_of_each(session, deployment.plugins, channel_name, verdict)
            stale = objects.list_stale(session, _hashes(verdict))
        if stale:
            with deployment.transaction(write=True) as session:
                objects.touch_again(session, stale)
        self._count(verdict)
        deployment.store.put_many([staged.pop(one.received.path) for one in verdict.accepted])
        for file in staged.values():
            file.discard()
        crashpoint("import.stored")
        left = verdict.accepted
        while left:
            some, left = left[: self._at_once], left[self._at_once :]
            self._write(some)

    def _write(self, imports: Sequence[Import]) -> None:
        deployment, began = self._deployment, time.monotonic()
        with deployment.transaction(write=True) as session:
            recorded = service.record_imports(
                session, deployment.plugins, self._principal, self._channel_name, imports
            )
            objects.check_stored(deployment.store, _hashes(recorded))
            crashpoint("import.recording")
        crashpoint("import.recorded")
        took = time.monotonic() - began
        if took > WRITE_SECONDS:
            self._at_once = max(self._at_once // 2, LEAST)
        elif took < WRITE_SECONDS / 2:
            self._at_once = min(self._at_once * 2, BATCH)
        self._count(recorded)
        self._report.imported += len(recorded.accepted)
        self._report.yanked += sum(one.removed for one in recorded.accepted)

    def _count(self, verdict: Verdict) -> None:
        self._report.unchanged += verdict.unchanged
        self._report.refused += verdict.refused


def _chunks(candidates: Iterable[Candidate]) -> Iterator[list[Candidate]]:
    chunk: list[Candidate] = []
    size = 0
    for candidate in candidates:
        chunk.append(candidate)
        size += candidate.file.size
        if len(chunk) == CHUNK or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _hashes(verdict: Verdict) -> list[str]:
    return [one.received.sha256 for one in verdict.accepted]


def _import_of(file: FolderFile, arrival: Arrival) -> Import:
    staged, listed = arrival.staged, file.listed
    return Import(
        Received(arrival.archive, staged.size, staged.sha256, staged.md5),
        indexed_at=None if listed is None else listed.indexed_timestamp,
        removed=file.removed,
    )
