"""Checks of published index files against what the database says of them."""

from sqlalchemy.orm import Session

from quetz.conda.shards import decode_shard_index
from quetz.conda.zstd import decompress
from quetz.db.queries.channels import list_channel_ids
from quetz.db.queries.files import list_subdirs
from quetz.services.index_builds import INDEX_LIMIT
from quetz.services.publishing import (
    CHANNEL_WIDE,
    CHANNELDATA,
    REPODATA,
    SHARD_INDEX,
    SHARDS,
    Files,
    Switch,
    list_published,
    read_file,
    shard_key,
)
from quetz.storage import ObjectStore

_OF_SUBDIRS = (SHARDS, REPODATA)


def find_torn(session: Session, store: ObjectStore) -> list[Switch]:
    """Return the switches one of whose files is missing, cut short or changed."""
    return [
        switch
        for switch, published in list_published(session).items()
        if not is_whole(store, switch, published.files)
    ]


def list_switches(session: Session) -> list[Switch]:
    """Return the switches that are published, and those of which there are files."""
    switches = set(list_published(session))
    for channel_id in list_channel_ids(session):
        subdirs = list_subdirs(session, channel_id)
        switches |= {Switch(channel_id, one, family) for one in subdirs for family in _OF_SUBDIRS}
        if subdirs:
            switches.add(Switch(channel_id, CHANNEL_WIDE, CHANNELDATA))
    return sorted(switches)


def is_whole(store: ObjectStore, switch: Switch, files: Files) -> bool:
    """Tell whether no file of a switch is missing, cut short or changed."""
    for form, file in files.items():
        data = read_file(store, file)
        # A document without a table is of a server that had none.
        if data is None or (form != SHARD_INDEX and file.table is None):
            return False
        if form == SHARD_INDEX:
            shards = decode_shard_index(decompress(data, INDEX_LIMIT))
            # Readers check a shard's hash when they open it; a crash leaves it empty or absent.
            if not all(store.size(shard_key(switch, d.hex())) for d in shards.values()):
                return False
    return True
