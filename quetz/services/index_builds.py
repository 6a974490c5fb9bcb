"""Building index files: from the records of one switch to new files in the store."""

import secrets
from collections.abc import Iterable, Mapping
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec
from sqlalchemy.orm import Session

from quetz.conda.channeldata import decode_entries, encode_channeldata, encode_entry
from quetz.conda.repodata import encode_repodata
from quetz.conda.run_exports import encode_run_exports
from quetz.conda.shards import decode_shard_index, encode_shard, encode_shard_index
from quetz.conda.zstd import compress, decompress
from quetz.db.base import now_ms
from quetz.db.queries import index as queries
from quetz.plugins import Plugins
from quetz.services.patches import SubdirPatches
from quetz.services.publishing import (
    CHANNELDATA,
    CHANNELDATA_ZST,
    FROM_PACKAGES_ZST,
    REPODATA,
    REPODATA_ZST,
    RUN_EXPORTS_ZST,
    SHARD_INDEX,
    SHARDS,
    Batch,
    Built,
    IndexFile,
    Switch,
    find_channel_of,
    is_shard,
    keys_of,
    read_file,
    shard_key,
)
from quetz.storage import ObjectStore
from quetz.storage.keys import index_key

SHARD_LEVEL = 3
SHARD_INDEX_LEVEL = 1
JSON_LEVEL = 3
INDEX_LIMIT = 2 << 30  # bytes, a bound on what reading back our own files may unpack


def build(session: Session, store: ObjectStore, plugins: Plugins, batch: Batch) -> Built:
    """Build the files of the batch's switch from the present records, and store them."""
    builder = {SHARDS: _build_shards, REPODATA: _build_repodata, CHANNELDATA: _build_channeldata}
    return builder[batch.switch.family](session, store, plugins, batch)


def _build_shards(session: Session, store: ObjectStore, plugins: Plugins, batch: Batch) -> Built:
    switch = batch.switch
    before = _previous_shards(store, batch)
    if batch.names is None or before is None:
        names = queries.list_names(session, switch.channel_id, switch.subdir)
        shards: dict[str, bytes] = {}
    else:
        names, shards = batch.names, dict(before)
    few = None if batch.names is None or before is None else names
    patches = SubdirPatches(session, switch.channel_id, switch.subdir, few)
    written = []
    for name in names:
        rows = queries.list_records_of_name(session, switch.channel_id, switch.subdir, name)
        if not rows:
            shards.pop(name, None)
            continue
        shown = patches.apply(name, rows)
        kept = [file[:3] for file in shown if not file.removed]
        records = _by_plugins(session, plugins, switch, name, kept)
        removed = [file.filename for file in shown if file.removed]
        data = compress(encode_shard(records, removed), SHARD_LEVEL)
        digest = sha256(data)
        shards[name] = digest.digest()
        # A rebuild writes every shard: a missing one may be why it was asked for.
        if batch.names is None or before is None or before.get(name) != digest.digest():
            key = shard_key(switch, digest.hexdigest())
            store.write_index(key, data)
            written.append(str(key))
    if shards == before and batch.files:
        return Built(batch.files, [], [])  # created_at stays frozen when nothing changed
    raw = encode_shard_index(switch.subdir, now_ms(), shards)
    file = _store_file(store, batch, "shards", ".msgpack.zst", raw, level=SHARD_INDEX_LEVEL)
    replaced = _replaced_shards(store, switch, before, shards)
    return Built({SHARD_INDEX: file}, written, [*keys_of(batch.files), *replaced])


def _previous_shards(store: ObjectStore, batch: Batch) -> dict[str, bytes] | None:
    file = batch.files.get(SHARD_INDEX)
    data = read_file(store, file) if file else None
    return decode_shard_index(decompress(data, INDEX_LIMIT)) if data is not None else None


def _replaced_shards(
    store: ObjectStore,
    switch: Switch,
    before: Mapping[str, bytes] | None,
    after: Mapping[str, bytes],
) -> list[str]:
    """Return the keys of shards that the new index does not name.

    Without the index before, the files themselves say what there was.
    """
    if before is not None:
        gone = [old for name, old in before.items() if after.get(name) != old]
        return [str(shard_key(switch, digest.hex())) for digest in gone]
    current = {str(shard_key(switch, digest.hex())) for digest in after.values()}
    folder = str(shard_key(switch, "0" * 64)).rpartition("/")[0]
    return [
        key
        for key in store.list_index(switch.channel_id)
        if key.rpartition("/")[0] == folder and is_shard(key) and key not in current
    ]


def _build_repodata(session: Session, store: ObjectStore, plugins: Plugins, batch: Batch) -> Built:
    switch = batch.switch
    patches = SubdirPatches(session, switch.channel_id, switch.subdir)
    differs = patches.exist or plugins.implements("records_published")
    records: list[tuple[str, str]] = []
    run_exports: list[tuple[str, str]] = []
    removed: list[str] = []
    unpatched: list[tuple[str, str]] = []
    yanked: list[str] = []
    stream = queries.stream_records(session, switch.channel_id, switch.subdir)
    for name, group in groupby(stream, key=itemgetter(0)):
        rows = [row[1:] for row in group]
        if differs:
            unpatched += [row[:2] for row in rows if row[3] is None]
            yanked += [row[0] for row in rows if row[3] is not None]
        shown = patches.apply(name, rows)
        kept = [file[:3] for file in shown if not file.removed]
        removed += [file.filename for file in shown if file.removed]
        for filename, record, exports in _by_plugins(session, plugins, switch, name, kept):
            records.append((filename, record))
            run_exports.append((filename, exports))
    forms = {
        REPODATA_ZST: encode_repodata(switch.subdir, records, removed),
        RUN_EXPORTS_ZST: encode_run_exports(switch.subdir, run_exports),
    }
    if differs:
        forms[FROM_PACKAGES_ZST] = encode_repodata(switch.subdir, unpatched, yanked)
    files = {
        form: _store_file(store, batch, form.partition(".")[0], ".json.zst", raw, level=JSON_LEVEL)
        for form, raw in forms.items()
    }
    return Built(files, [], keys_of(batch.files))


def _by_plugins(
    session: Session,
    plugins: Plugins,
    switch: Switch,
    name: str,
    rows: Iterable[tuple[str, str, str]],
) -> list[tuple[str, str, str]]:
    """Let plugins change the records of one name."""
    rows = list(rows)
    if not rows or not plugins.implements("records_published"):
        return rows
    records: dict[str, dict[str, Any]] = {
        filename: msgspec.json.decode(record) for filename, record, _ in rows
    }
    plugins.call(
        "records_published",
        session=session,
        channel=find_channel_of(session, switch),
        subdir=switch.subdir,
        name=name,
        records=records,
    )
    return [
        (filename, msgspec.json.encode(records[filename], order="sorted").decode(), exports)
        for filename, _, exports in rows
        if filename in records
    ]


def _build_channeldata(
    session: Session, store: ObjectStore, _plugins: Plugins, batch: Batch
) -> Built:
    channel_id = batch.switch.channel_id
    file = batch.files.get(CHANNELDATA_ZST)
    data = read_file(store, file) if file else None
    if batch.names is None or data is None:
        entries, names = {}, queries.list_names(session, channel_id)
    else:
        entries, names = decode_entries(decompress(data, INDEX_LIMIT)), batch.names
    for name in names:
        rows = queries.list_channeldata_of_name(session, channel_id, name)
        if rows:
            entries[name] = encode_entry(rows)
        else:
            entries.pop(name, None)
    raw = encode_channeldata(queries.list_subdirs(session, channel_id), entries)
    new = _store_file(store, batch, "channeldata", ".json.zst", raw, level=JSON_LEVEL)
    return Built({CHANNELDATA_ZST: new}, [], keys_of(batch.files))


def _store_file(
    store: ObjectStore, batch: Batch, stem: str, suffix: str, raw: bytes, *, level: int
) -> IndexFile:
    data = compress(raw, level)
    # The random part keeps the names apart that two publishers, or a life before a crash,
    # give to the same generation: a name never changes its content.
    name = f"{stem}-{(batch.generation or 0) + 1}-{secrets.token_hex(4)}{suffix}"
    key = index_key(batch.switch.channel_id, batch.switch.subdir, name)
    store.write_index(key, data)
    return IndexFile(str(key), len(data), sha256(data).hexdigest(), len(raw))
