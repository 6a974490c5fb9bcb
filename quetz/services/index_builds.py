"""Building index files: from the records of one switch to new files in the store."""

import logging
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256

from sqlalchemy.orm import Session

from quetz.conda.pieces import TornDocument
from quetz.conda.shard_indexes import Piece, ShardIndex
from quetz.conda.shards import decode_shard_index, encode_shard
from quetz.conda.zstd import compress, decompress
from quetz.crashpoints import crashpoint
from quetz.db.base import now_ms
from quetz.plugins import Plugins
from quetz.services.index_documents import build_channeldata, build_repodata
from quetz.services.index_names import is_shard
from quetz.services.index_records import NameRecords, read_names
from quetz.services.publishing import (
    CHANNELDATA,
    REPODATA,
    SHARD_INDEX,
    SHARDS,
    Batch,
    Built,
    IndexFile,
    Switch,
    keys_of,
    new_key,
    read_file,
    shard_key,
)
from quetz.storage import ObjectStore
from quetz.storage.keys import parse_index_key

SHARD_LEVEL = 3
INDEX_LIMIT = 2 << 30  # bytes, a bound on what reading back our own files may unpack

_log = logging.getLogger("quetz.publisher")


class ShardMemory:
    """The shard indexes that a publisher made last, so that it does not read them again."""

    NAMES = 200_000
    """How many names are remembered; each takes about 230 bytes."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, ShardIndex] = OrderedDict()

    def find(self, file: IndexFile) -> ShardIndex | None:
        return self._kept.get(file.key)

    def keep(self, file: IndexFile, index: ShardIndex, before: IndexFile | None) -> None:
        if before is not None:
            self._kept.pop(before.key, None)
        self._kept[file.key] = index
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
    crashpoint("publish.documents")
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
    # The file may be torn of which a rebuild was asked for: then it is not what is remembered.
    before = _previous_index(store, file, memory if batch.names is not None else ShardMemory())
    names = None if before is None else batch.names
    known = ShardIndex() if before is None else before
    reads = read_names(session, plugins, switch, names)
    changes, written = _write_shards(store, switch, reads, known, rebuild=names is None)
    if before is not None and not changes:
        return Built(batch.files, [], [])  # created_at stays frozen when nothing changed
    index = known.change(changes)
    data, raw_size = index.encode(switch.subdir, now_ms())
    _log_plain(switch, set(index.pieces).difference(known.pieces))
    key = new_key(batch, "shards", ".msgpack.zst")
    store.write_index(key, data)
    new = IndexFile(str(key), len(data), sha256(data).hexdigest(), raw_size)
    memory.keep(new, index, file)
    gone = None if before is None else [known.find(name) for name in changes]
    replaced = _replaced_shards(store, switch, gone, index)
    return Built({SHARD_INDEX: new}, written, [*keys_of(batch.files), *replaced])


def _previous_index(
    store: ObjectStore, file: IndexFile | None, memory: ShardMemory
) -> ShardIndex | None:
    if file is None:
        return None
    known = memory.find(file)
    if known is not None and store.size(parse_index_key(file.key)) == file.size:
        return known
    data = read_file(store, file)
    if data is None:
        return None
    return ShardIndex.of(decode_shard_index(decompress(data, INDEX_LIMIT)))


def _write_shards(
    store: ObjectStore,
    switch: Switch,
    reads: Iterable[NameRecords],
    known: ShardIndex,
    *,
    rebuild: bool,
) -> tuple[dict[str, bytes | None], list[str]]:
    """Write shards; return the digests that differ from the known, by name, and the keys written.

    A digest of None is of a name without files. In a rebuild that is each name not read, and
    every shard is written: a missing one may be why it was asked for.
    """
    changes: dict[str, bytes | None] = dict.fromkeys(known.names()) if rebuild else {}
    written = []
    for read in reads:
        digest, old = None, known.find(read.name)
        if not read.is_empty:
            data = compress(encode_shard(read.shown, read.removed), SHARD_LEVEL)
            digest = sha256(data).digest()
            if rebuild or digest != old:
                key = shard_key(switch, digest.hex())
                store.write_index(key, data)
                written.append(str(key))
        if digest == old:
            changes.pop(read.name, None)
        else:
            changes[read.name] = digest
    return changes, written


def _log_plain(switch: Switch, pieces: Iterable[Piece]) -> None:
    if plain := sum(piece.packed.is_plain for piece in pieces):
        _log.warning(
            "%d pieces of the shard index of %s are kept uncompressed: what the compressor made "
            "of them could not stand behind others",
            plain,
            switch,
        )


def _replaced_shards(
    store: ObjectStore, switch: Switch, gone: Iterable[bytes | None] | None, index: ShardIndex
) -> list[str]:
    """Return the keys of shards that the new index does not name.

    ``gone`` are the digests before of names that changed; of new ones, None. Without the index
    before, the files themselves say what there was.
    """
    if gone is not None:
        # Names have one shard together when plugins or hotfixes leave nothing of their records.
        digests = sorted(digest for digest in set(gone) if digest and not index.has_shard(digest))
        return [str(shard_key(switch, digest.hex())) for digest in digests]
    current = {str(shard_key(switch, digest.hex())) for digest in index.digests()}
    folder = str(shard_key(switch, "0" * 64)).rpartition("/")[0]
    return [
        key
        for key in store.list_index(switch.channel_id)
        if key.rpartition("/")[0] == folder and is_shard(key) and key not in current
    ]
