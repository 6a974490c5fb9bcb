"""Exports: one state of a channel, of files and the indexes that list them."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from quetz.db.models import Channel
from quetz.db.queries import files
from quetz.services.publishing import (
    CHANNEL_WIDE,
    CHANNELDATA,
    REPODATA,
    SHARDS,
    Files,
    Switch,
    has_marks,
    list_published,
)

NOARCH = "noarch"


@dataclass(frozen=True)
class StoredFile:
    """A package file of the channel, and which object it is; ``size`` in bytes."""

    subdir: str
    filename: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Snapshot:
    """What a channel is at one moment, when its published indexes list just its files."""

    channel: Channel
    files: Sequence[StoredFile]
    published: dict[Switch, Files]

    @property
    def subdirs(self) -> list[str]:
        """Those with an index, and noarch, which no channel lacks (CEP 36)."""
        return sorted({NOARCH, *(switch.subdir for switch in self.published)} - {CHANNEL_WIDE})

    def index_of(self, subdir: str) -> Files:
        """Return the published files of a subdir, by form; "" stands for the whole channel."""
        families = (SHARDS, REPODATA, CHANNELDATA)
        switches = [Switch(self.channel.id, subdir, family) for family in families]
        return {
            form: file
            for switch in switches
            for form, file in self.published.get(switch, {}).items()
        }


def take_snapshot(session: Session, channel: Channel) -> Snapshot | None:
    """Return what the channel is now; None while changes wait to be published."""
    if has_marks(session, channel.id):
        return None
    published = list_published(session, channel.id)
    return Snapshot(
        channel,
        [StoredFile(*row) for row in files.list_objects(session, channel.id)],
        {switch: state.files for switch, state in published.items()},
    )
