"""Building index files: from the records of one switch to new files in the store."""

import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256

from sqlalchemy.orm import Session

from quetz.conda.pieces import TornDocument
from quetz.conda.shards import decode_shard_index, encode_shard, encode_shard_index
from quetz.conda.zstd import compress, decompress
from quetz.db.base import now_ms
from quetz.plugins import Plugins
from quetz.services.index_documents import build_channeldata, build_repodata
from quetz.services.index_names import is_shard
from quetz.services.index_records import read_names
from quetz.services.publishing import (
    CHANNELDATA,
    REPODATA,
    SHARD_INDEX,
    SHARDS,
    Batch,
    Built,
    IndexFile,
    keys_of,
    new_key,
    read_file,
    shard_key,
)
from quetz.storage import ObjectStore
from quetz.storage.keys import parse_index_key

SHARD_LEVEL = 3
SHARD_INDEX_LEVEL = 1
INDEX_LIMIT = 2 << 30  # bytes, a bound on what reading back our own files may unpack

_log = logging.getLogger("quetz.publisher")


class ShardMemory:
    """The shard indexes that a publisher made last, so that it does not read them again."""

    NAMES = 200_000
    """How many names are remembered; each takes about 250 bytes."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, dict[str, bytes]] = OrderedDict()

    def find(self, file: IndexFile) -> dict[str, bytes] | None:
        return self._kept.get(file.key)

    def keep(self, file: IndexFile, shards: dict[str, bytes], before: IndexFile | None) -> None:
        if before is not None:
            self._kept.pop(before.key, None)
        self._kept[file.key] = shards
        while len(self._kept) > 1 and sum(map(len, self._kept.values())) > self.NAMES:
            self._kept.popitem(last=False)


def build(
    session: Session,
    store: ObjectStore,
    plugins: Plugins,
    batch: Batch,
    memory: ShardMemory | None = None,
) -> Built:
    """Build the files of the batch's switch from the present records, and store them."""
    if batch.switch.family == SHARDS:
        return _build_shards(session, store, plugins, batch, memory or ShardMemory())
    builder = {REPODATA: build_repodata, CHANNELDATA: build_channeldata}[batch.switch.family]
    try:
        return builder(session, store, plugins, batch)
    except TornDocument:
        _log.error("a file of %s is torn; building it anew from the database", batch.switch)
        return builder(session, store, plugins, replace(batch, names=None))


def _build_shards(
    session: Session, store: ObjectStore, plugins: Plugins, batch: Batch, memory: ShardMemory
) -> Built:
    switch = batch.switch
    file = batch.files.get(SHARD_INDEX)
    before = _previous_shards(store, file, memory)
    names = batch.names if before is not None else None
    shards = {} if before is None or names is None else dict(before)
    written, is_sorted, changed = [], True, False
    for read in read_names(session, plugins, switch, names):
        if read.is_empty:
            changed = shards.pop(read.name, None) is not None or changed
            continue
        data = compress(encode_shard(read.shown, read.removed), SHARD_LEVEL)
        digest = sha256(data)
        # A rebuild writes every shard: a missing one may be why it was asked for.
        if names is None or shards.get(read.name) != digest.digest():
            key = shard_key(switch, digest.hexdigest())
            store.write_index(key, data)
            written.append(str(key))
        if shards.get(read.name) != digest.digest():
            is_sorted = is_sorted and (names is None or read.name in shards)
            shards[read.name] = digest.digest()
            changed = True
    # Only a rebuild compares them all: there are many more names than were read.
    if shards == before if names is None else not changed:
        return Built(batch.files, [], [])  # created_at stays frozen when nothing changed
    if not is_sorted:
        shards = dict(sorted(shards.items()))
    raw = encode_shard_index(switch.subdir, now_ms(), shards)
    data = compress(raw, SHARD_INDEX_LEVEL)
    key = new_key(batch, "shards", ".msgpack.zst")
    store.write_index(key, data)
    new = IndexFile(str(key), len(data), sha256(data).hexdigest(), len(raw))
    memory.keep(new, shards, file)
    replaced = _replaced_shards(store, batch, before, shards)
    return Built({SHARD_INDEX: new}, written, [*keys_of(batch.files), *replaced])


def _previous_shards(
    store: ObjectStore, file: IndexFile | None, memory: ShardMemory
) -> dict[str, bytes] | None:
    if file is None:
        return None
    known = memory.find(file)
    if known is not None and store.size(parse_index_key(file.key)) == file.size:
        return known
    data = read_file(store, file)
    return None if data is None else decode_shard_index(decompress(data, INDEX_LIMIT))


def _replaced_shards(
    store: ObjectStore,
    batch: Batch,
    before: Mapping[str, bytes] | None,
    after: Mapping[str, bytes],
) -> list[str]:
    """Return the keys of shards that the new index does not name.

    Without the index before, the files themselves say what there was.
    """
    switch = batch.switch
    if before is not None:
        names = before if batch.names is None else before.keys() & batch.names
        gone = {before[name] for name in names if after.get(name) != before[name]}
        # Names have one shard together when plugins or hotfixes leave nothing of their records.
        kept = gone.intersection(after.values())
        return [str(shard_key(switch, digest.hex())) for digest in sorted(gone - kept)]
    current = {str(shard_key(switch, digest.hex())) for digest in after.values()}
    folder = str(shard_key(switch, "0" * 64)).rpartition("/")[0]
    return [
        key
        for key in store.list_index(switch.channel_id)
        if key.rpartition("/")[0] == folder and is_shard(key) and key not in current
    ]
