"""The deployment that the parts share: its channels, and its server."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from sqlalchemy.orm import Session

from benchmarks.client import Connection, post
from benchmarks.machine import CLIENT_CPU, pinned
from benchmarks.records import SUBDIR, insert_channel
from benchmarks.servers import Running, create_deployment, quetz_server, wait_until_published
from quetz.deployment import Deployment
from quetz.services.publishing import (
    CHANNEL_WIDE,
    CHANNELDATA,
    REPODATA,
    SHARDS,
    Switch,
    mark_for_rebuild,
)
from quetz.testing.packages import build_package

FAMILIES = ((SUBDIR, SHARDS), (SUBDIR, REPODATA), (CHANNEL_WIDE, CHANNELDATA))
NEW_VERSION = 99
"""Above those of the records, so that clients and channeldata.json prefer what is added."""


@dataclass(frozen=True)
class Channel:
    """``sizes`` says how many records each name had when they were inserted."""

    id: int
    name: str
    sizes: Counter[str]

    @property
    def records(self) -> int:
        return self.sizes.total()

    @property
    def folder(self) -> str:
        """Where clients read the subdir that holds everything."""
        return f"/get/{self.name}/{SUBDIR}"

    def __str__(self) -> str:
        return f"{self.records:,} records"


@dataclass(frozen=True)
class Package:
    """A package to upload."""

    name: str
    version: str
    path: Path

    @property
    def filename(self) -> str:
        return self.path.name


@dataclass
class Bench:
    """``scale`` is of the counts that the goals name, ``rounds`` how many pairs to measure."""

    folder: Path
    scale: float
    rounds: int
    key: str = ""
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    channels: dict[int, Channel] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.key = create_deployment(self.deployment)

    @property
    def deployment(self) -> Path:
        return self.folder / "deployment"

    def scaled(self, number: float, least: int) -> int:
        return max(least, round(number * self.scale))

    def channel(self, records: int) -> Channel:
        """Return the channel that has so many records at full scale.

        When first asked for it is inserted, for the next server to publish.
        """
        if records not in self.channels:
            name = f"scale-{records}"
            with (
                closing(Deployment.open(self.deployment)) as deployment,
                deployment.transaction(write=True) as session,
            ):
                number, sizes = insert_channel(session, name, self.scaled(records, 200))
                mark_everything(session, number)
            self.channels[records] = Channel(number, name, sizes)
        return self.channels[records]

    @contextmanager
    def server(self) -> Iterator[Running]:
        """Run the server, with everything published; the caller gets the other processor."""
        with quetz_server(self.deployment) as server, pinned(CLIENT_CPU):
            wait_until_published(self.deployment)
            yield server
            wait_until_published(self.deployment)  # a stop would not wait for long

    def pack(self, name: str, *, depends: Sequence[str] = ()) -> Package:
        """Make a package of ``name`` in a version that is higher than all before."""
        number = next(self.numbers)
        version = f"{NEW_VERSION}.{number}"
        payload = {f"share/{name}/number": str(number).encode()}
        path = build_package(
            self.folder, name, version, subdir=SUBDIR, depends=depends, files=payload
        )
        return Package(name, version, path)

    def upload_request(self, channel: Channel, package: Package) -> bytes:
        body = package.path.read_bytes()
        path = f"/api/channels/{channel.name}/upload/{package.filename}"
        return post(path, len(body), X_API_Key=self.key) + body

    def upload(self, connection: Connection, channel: Channel, package: Package) -> None:
        """Upload it, and forget the file."""
        connection.ask(self.upload_request(channel, package)).expect(201)
        package.path.unlink()


def mark_everything(session: Session, channel_id: int) -> None:
    """Ask for all index files of a channel to be built from nothing."""
    for subdir, family in FAMILIES:
        mark_for_rebuild(session, Switch(channel_id, subdir, family))
