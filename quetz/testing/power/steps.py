"""The steps of a scenario: each says what it changes, can be taken, and be taken again."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

from starlette.testclient import TestClient

from quetz.conda.channel_folders import read_channel_folder
from quetz.deployment import Deployment
from quetz.services.permissions import OPERATOR
from quetz.testing.power.recorder import Recording
from quetz.testing.publishing import publish_all
from quetz.web.app import create_app
from quetz.worker.collecting import collect, collect_index_files
from quetz.worker.imports import import_folder

DONE = "done"
"""Marks that a step was acknowledged."""


class StepRefused(AssertionError):
    """A step was not answered as it has to be."""


class Workplace:
    """Where a step is taken; ``key`` is of a user who may take it."""

    def __init__(self, deployment: Deployment, key: str) -> None:
        self.deployment = deployment
        self._key = key

    @cached_property
    def client(self) -> TestClient:
        return TestClient(create_app(self.deployment), headers={"X-API-Key": self._key})


@runtime_checkable
class Step(Protocol):
    """What a client asks for, or a server does by itself. It can be pickled."""

    @property
    def name(self) -> str: ...
    @property
    def whole(self) -> bool:
        """Say whether all of its changes are there, or none."""

    def changes(self) -> Mapping[str, str | None]:
        """Return the SHA-256 of each file it brings, by name, and None for those it removes."""

    def take(self, place: Workplace, *, again: bool = False) -> None:
        """Take the step; ``again`` if it may have been taken before.

        Raises:
            StepRefused: the answer is another than that.
        """


def take_steps(recording: Recording, place: Workplace, steps: list[Step]) -> None:
    """Take the steps one after another, and mark in the recording when each begins and ends."""
    for step in steps:
        recording.mark(step)
        step.take(place)
        recording.mark(DONE)


@dataclass(frozen=True)
class Upload:
    """Sends packages, of ``noarch``: one as the body, several as a form."""

    channel: str
    packages: Mapping[str, bytes]
    force: bool = False
    whole: bool = True
    name: str = "an upload"

    def changes(self) -> Mapping[str, str | None]:
        return {
            f"{self.channel}/noarch/{filename}": hashlib.sha256(data).hexdigest()
            for filename, data in self.packages.items()
        }

    def take(self, place: Workplace, *, again: bool = False) -> None:
        channel = f"/api/channels/{self.channel}"
        force = str(self.force).lower()
        if len(self.packages) == 1:
            [(filename, data)] = self.packages.items()
            url = f"{channel}/upload/{filename}?force={force}"
            status = place.client.post(url, content=data).status_code
        else:
            form = [("files", part) for part in self.packages.items()]
            answer = place.client.post(f"{channel}/files/", files=form, data={"force": force})
            status = answer.status_code
        _expect(self.name, status, {200, 201} if again else {201})


@dataclass(frozen=True)
class Deletion:
    """Deletes a package of ``noarch``."""

    channel: str
    package: str
    filename: str
    whole: bool = True
    name: str = "a deletion"

    def changes(self) -> Mapping[str, str | None]:
        return {f"{self.channel}/noarch/{self.filename}": None}

    def take(self, place: Workplace, *, again: bool = False) -> None:
        versions = f"/api/channels/{self.channel}/packages/{self.package}/versions"
        status = place.client.delete(f"{versions}/noarch/{self.filename}").status_code
        _expect(self.name, status, {200, 404} if again else {200})


@dataclass(frozen=True)
class FolderImport:
    """Imports packages from ``folder/noarch``; what was recorded of it may be any part."""

    channel: str
    folder: Path
    whole: bool = False
    name: str = "an import"

    def changes(self) -> Mapping[str, str | None]:
        return {
            f"{self.channel}/noarch/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest()
            for path in (self.folder / "noarch").iterdir()
        }

    def take(self, place: Workplace, *, again: bool = False) -> None:
        folder = read_channel_folder(self.folder)
        report = import_folder(place.deployment, OPERATOR, self.channel, folder)
        if report.refused or not (again or report.imported == len(folder.files)):
            raise StepRefused(f"{self.name} refused {report.refused}")


@dataclass(frozen=True)
class IndexRun:
    """Publishes all that is marked."""

    whole: bool = True
    name: str = "an index run"

    def changes(self) -> Mapping[str, str | None]:
        return {}

    def take(self, place: Workplace, *, again: bool = False) -> None:  # noqa: ARG002  the same again
        publish_all(place.deployment)


@dataclass(frozen=True)
class Collection:
    """Removes at once what nothing refers to."""

    whole: bool = True
    name: str = "a collection"

    def changes(self) -> Mapping[str, str | None]:
        return {}

    def take(self, place: Workplace, *, again: bool = False) -> None:  # noqa: ARG002  the same again
        collect(place.deployment, grace_ms=0)
        collect_index_files(place.deployment)


def _expect(name: str, status: int, expected: set[int]) -> None:
    if status not in expected:
        raise StepRefused(f"{name} was answered {status}")
