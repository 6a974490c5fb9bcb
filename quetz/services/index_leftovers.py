"""Index files that nothing names: what a publisher wrote before it was killed.

They are found outside of a write transaction, and set on the list of the superseded inside of one
that lets no publisher name one of them meanwhile. From that list they are removed after a while,
unless a switch comes to name them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from sqlalchemy.orm import Session

from quetz.conda.shards import decode_shard_index
from quetz.conda.zstd import decompress
from quetz.db.base import now_ms
from quetz.db.queries import index as queries
from quetz.services.index_builds import INDEX_LIMIT
from quetz.services.index_names import gzip_key, is_shard
from quetz.services.publishing import (
    CHANNEL_WIDE,
    LEFTOVER,
    SHARD_INDEX,
    SHARDS,
    WHOLE_CHANNEL,
    IndexFile,
    Switch,
    keys_of,
    list_published,
    read_file,
    shard_key,
    supersede,
)
from quetz.storage import ObjectStore
from quetz.storage.keys import CHANNEL_WIDE as CHANNEL_FOLDER


@dataclass(frozen=True)
class Leftovers:
    """Files of a channel that nothing names; ``indexes`` are the shard indexes looked at for that.

    Without the channel that is its whole folder.
    """

    channel_id: int
    keys: list[str]
    indexes: dict[str, str]  # keys by subdir
    is_gone: bool = False


def list_channels_in_store(store: ObjectStore) -> Iterator[tuple[int, list[str]]]:
    """Yield the id of each channel that has index files, and their keys."""
    for channel_id, keys in groupby(store.list_index(), key=lambda key: int(key.split("/")[1])):
        yield channel_id, list(keys)


def find_leftovers(
    session: Session, store: ObjectStore, channel_id: int, keys: Iterable[str]
) -> Leftovers:
    """Return those of a channel's files that nothing names; they were listed before."""
    superseded = set(queries.list_superseded_keys(session, channel_id))
    if not queries.is_channel(session, channel_id):
        is_known = _folder(channel_id) in superseded
        return Leftovers(channel_id, [] if is_known else list(keys), {}, is_gone=True)
    named = _with_gzip(superseded)
    indexes = {}
    for switch, published in list_published(session, channel_id).items():
        named |= _with_gzip(keys_of(published.files))
        if (file := published.files.get(SHARD_INDEX)) is not None:
            shards = _shards_of(store, switch, file)
            if shards is not None:
                named |= shards
                indexes[switch.subdir] = file.key
    # Where no whole index says which shards are current, none of them is a leftover.
    left = [key for key in keys if key not in named and _is_judged(key, indexes)]
    return Leftovers(channel_id, left, indexes)


def supersede_leftovers(session: Session, leftovers: Leftovers) -> None:
    """Let files be removed after a while, but for those that have come to be named."""
    channel_id, now = leftovers.channel_id, now_ms()
    if leftovers.is_gone:
        switch = Switch(channel_id, CHANNEL_WIDE, WHOLE_CHANNEL)
        supersede(session, switch, [_folder(channel_id)], now)
        return
    if not queries.stop_flips(session, channel_id):
        return
    named = set(queries.list_superseded_keys(session, channel_id))
    indexes = {}
    for switch, published in list_published(session, channel_id).items():
        named |= _with_gzip(keys_of(published.files))
        if switch.family == SHARDS and SHARD_INDEX in published.files:
            indexes[switch.subdir] = published.files[SHARD_INDEX].key
    same = {subdir: key for subdir, key in leftovers.indexes.items() if indexes.get(subdir) == key}
    left = [key for key in leftovers.keys if key not in named and _is_judged(key, same)]
    for subdir, group in groupby(sorted(left), key=_subdir_of):
        supersede(session, Switch(channel_id, subdir, LEFTOVER), group, now)


def _folder(channel_id: int) -> str:
    return f"index/{channel_id}"


def _subdir_of(key: str) -> str:
    folder = key.split("/")[2]
    return CHANNEL_WIDE if folder == CHANNEL_FOLDER else folder


def _is_judged(key: str, indexes: dict[str, str]) -> bool:
    """Tell whether a shard is one of the subdirs whose index is known; other files always are."""
    return not is_shard(key) or _subdir_of(key) in indexes


def _with_gzip(keys: Iterable[str]) -> set[str]:
    """Return the keys, and those of the gzip forms that may lie beside the documents."""
    named = set(keys)
    return named | {str(gzip_key(key)) for key in named if key.endswith(".json.zst")}


def _shards_of(store: ObjectStore, switch: Switch, file: IndexFile) -> set[str] | None:
    """Return the keys of the shards that a shard index names; None if it is gone or torn."""
    data = read_file(store, file)
    if data is None:
        return None
    shards = decode_shard_index(decompress(data, INDEX_LIMIT))
    return {str(shard_key(switch, digest.hex())) for digest in shards.values()}
