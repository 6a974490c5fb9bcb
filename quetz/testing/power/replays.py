"""Starts a deployment on what a power cut left, and holds it against what clients were told."""

import hashlib
import random
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from sqlalchemy import select

from quetz.db.models import Channel, File
from quetz.deployment import LOCK_FOLDER, Deployment
from quetz.errors import ObjectMissing
from quetz.storage.keys import object_key
from quetz.testing.power.disks import Disk, Effect, Loss, Mark, Sync
from quetz.testing.power.recorder import Recording
from quetz.testing.power.steps import DONE, Step, Workplace
from quetz.testing.publishing import publish_all
from quetz.worker.checks.findings import Finding, Severity
from quetz.worker.fsck import check_deployment
from quetz.worker.sealer import seal_waiting
from quetz.worker.upkeep import Upkeep

Files = Mapping[str, str]
"""The SHA-256 of each file, by its name: ``forge/noarch/pkg-1.0-0.conda``."""


@dataclass(frozen=True)
class Promise:
    """What clients were told: files that must be there, and a step that was not answered yet."""

    files: Files = field(default_factory=dict)
    under_way: Step | None = None

    def after(self, effect: Effect) -> "Promise":
        if not isinstance(effect, Mark):
            return self
        if isinstance(effect.what, Step):
            return replace(self, under_way=effect.what)
        if effect.what == DONE and self.under_way is not None:
            return Promise(self.kept())
        return self

    def kept(self) -> Files:
        """Return the files once the step under way is done."""
        changes = {} if self.under_way is None else self.under_way.changes()
        after = {**self.files, **changes}
        return {name: sha256 for name, sha256 in after.items() if sha256 is not None}

    def broken_by(self, files: Files) -> Iterator[str]:
        """Say what of ``files`` may not be so."""
        before, after = self.files, self.kept()
        for name in sorted({*files, *before, *after}):
            if files.get(name) not in (before.get(name), after.get(name)):
                yield f"{name} is {files.get(name)}, and was acknowledged as {before.get(name)}"
        if self.under_way is not None and self.under_way.whole and files not in (before, after):
            yield f"of {self.under_way.name} a part was recorded"


@dataclass(frozen=True)
class Cut:
    """A disk as it may be when power went right before an effect, the ``number``-th."""

    number: int
    loss: Loss
    disk: Mapping[str, bytes | None]
    promise: Promise


def cuts(recording: Recording, *, share: float = 1, seed: int = 0) -> Iterator[Cut]:
    """Yield a cut for each loss, at the end of each stretch between two syncs.

    What the first of the two made durable is there, and what came after it is at the mercy of the
    loss. ``share`` is how many of the stretches to take, chosen by ``seed``.
    """
    chance = random.Random(seed)
    disk, promise = recording.replayed(), Promise()
    for number, effect in enumerate([*recording.effects, Sync(None)]):
        if isinstance(effect, Sync) and chance.random() < share:
            yield from _cuts_at(disk, promise, number, seed)
        disk.take(effect)
        promise = promise.after(effect)


def _cuts_at(disk: Disk, promise: Promise, number: int, seed: int) -> Iterator[Cut]:
    for loss in Loss:
        yield Cut(number, loss, disk.after(loss, seed * 1_000_003 + number), promise)


def replay(cut: Cut, folder: Path, key: str) -> list[str]:
    """Start on the disk of ``cut``, in ``folder``, which must not exist; say what is wrong.

    ``key`` is of who took the steps.
    """
    _write(cut.disk, folder)
    try:
        try:
            deployment = Deployment.open(folder)
        except Exception as error:  # noqa: BLE001  whatever it is, a server does not start
            return [f"it cannot be opened: {error!r}"]
        try:
            return list(_faults(deployment, cut.promise, key))
        except Exception as error:  # noqa: BLE001  the campaign goes on
            return [f"its recovery failed: {error!r}"]
        finally:
            deployment.close()
    finally:
        shutil.rmtree(folder)


def _write(disk: Mapping[str, bytes | None], folder: Path) -> None:
    folder.mkdir()
    for path, content in disk.items():
        if content is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(content)
    (folder / LOCK_FOLDER).mkdir(exist_ok=True)


def _faults(deployment: Deployment, promise: Promise, key: str) -> Iterator[str]:
    _recover(deployment)
    files = _read_files(deployment)
    yield from promise.broken_by(files)
    yield from _damaged(deployment, files)
    if promise.under_way is not None:
        promise.under_way.take(Workplace(deployment, key), again=True)
        _recover(deployment)
        yield from Promise(promise.kept()).broken_by(_read_files(deployment))
    yield from _found_by_fsck(deployment)


def _recover(deployment: Deployment) -> None:
    Upkeep(deployment).mend_indexes()
    publish_all(deployment)
    seal_waiting(deployment)


def _read_files(deployment: Deployment) -> Files:
    query = select(Channel.name, File.subdir, File.filename, File.sha256).join(
        Channel, Channel.id == File.channel_id
    )
    with deployment.transaction() as session:
        return {f"{row[0]}/{row[1]}/{row[2]}": row[3] for row in session.execute(query)}


def _damaged(deployment: Deployment, files: Files) -> Iterator[str]:
    for name, sha256 in files.items():
        try:
            with deployment.store.open_file(object_key(sha256)) as file:
                if hashlib.sha256(file.read()).hexdigest() != sha256:
                    yield f"{name} has other bytes"
        except ObjectMissing:
            yield f"{name} has no bytes"


def _found_by_fsck(deployment: Deployment) -> Iterator[str]:
    found: list[Finding] = []
    check_deployment(
        deployment,
        deep=True,
        repair=False,
        tell=lambda finding, _: found.append(finding),
        watch=lambda _done, _total: None,
    )
    for one in found:
        if one.severity is not Severity.INFO:
            yield f"{one.invariant} {one.subject}: {one.what}"
