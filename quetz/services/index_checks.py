"""Checks of published index files against what the database says of them."""

from sqlalchemy.orm import Session

from quetz.conda.shards import decode_shard_index
from quetz.conda.zstd import decompress
from quetz.services.index_builds import INDEX_LIMIT
from quetz.services.publishing import (
    SHARD_INDEX,
    Files,
    Switch,
    list_published,
    read_file,
    shard_key,
)
from quetz.storage import ObjectStore


def find_torn(session: Session, store: ObjectStore) -> list[Switch]:
    """Return the switches one of whose files is missing, cut short or changed."""
    return [
        switch
        for switch, published in list_published(session).items()
        if not _is_whole(store, switch, published.files)
    ]


def _is_whole(store: ObjectStore, switch: Switch, files: Files) -> bool:
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
