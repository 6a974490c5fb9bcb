"""Sharded repodata (CEP 16): an index of hashes, and one shard for each package name."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

_MSGPACK: Final = msgspec.msgpack.Encoder(order="sorted")
_ORDERED: Final = msgspec.msgpack.Encoder()  # sorting would take longer than all the rest
_JSON: Final = msgspec.json.Decoder()

SHARD_INDEX_END: Final = _ORDERED.encode("version") + _ORDERED.encode(1)
"""An index behind its last name."""


class _ShardIndex(msgspec.Struct):
    shards: dict[str, bytes]


_SHARD_INDEX: Final = msgspec.msgpack.Decoder(_ShardIndex)


def encode_shard(files: Iterable[tuple[str, str, str]], removed: Iterable[str] = ()) -> bytes:
    """Return the shard of one name as msgpack, to be compressed.

    ``files`` are (file name, record as JSON text, run_exports as JSON text). The hashes become
    binary, and each record gets its run_exports (CEP 21). Equal files give equal bytes, so
    that a shard keeps its name. ``removed`` is as in ``repodata.json`` (CEP 36).
    """
    legacy: dict[str, Any] = {}
    modern: dict[str, Any] = {}
    for filename, record_text, run_exports_text in files:
        record: dict[str, Any] = _JSON.decode(record_text)
        record["md5"] = bytes.fromhex(record["md5"])
        record["sha256"] = bytes.fromhex(record["sha256"])
        record["run_exports"] = _JSON.decode(run_exports_text)
        (legacy if filename.endswith(".tar.bz2") else modern)[filename] = record
    # Clients take both maps for granted, empty or not.
    shard = {"packages": legacy, "packages.conda": modern, "removed": sorted(removed)}
    return _MSGPACK.encode(shard)


def encode_shard_index(subdir: str, created_at: int, shards: Mapping[str, bytes]) -> bytes:
    """Return the index of ``subdir`` as msgpack, to be compressed.

    ``created_at`` is in Unix ms; ``shards`` maps a package name to the SHA-256 digest of its
    shard as served, in the order of the names. Relative URLs keep whatever prefix a client came
    by, such as a token.
    """
    start = start_shard_index(subdir, created_at, len(shards))
    return start + encode_entries(shards) + SHARD_INDEX_END


def start_shard_index(subdir: str, created_at: int, count: int) -> bytes:
    """Return an index of ``count`` names up to the first of them."""
    moment = datetime.fromtimestamp(created_at / 1000, tz=UTC)
    about = {
        "base_url": "",
        "created_at": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "shards_base_url": "./shards/",
        "subdir": subdir,
    }
    parts = [_map_header(3), *map(_ORDERED.encode, ("info", about, "shards")), _map_header(count)]
    return b"".join(parts)


def encode_entries(shards: Mapping[str, bytes]) -> bytes:
    """Return the part of an index that holds ``shards``."""
    return _ORDERED.encode(shards)[len(_map_header(len(shards))) :]


def _map_header(count: int) -> bytes:
    """Return what is before the entries of a map in msgpack."""
    if count < 1 << 4:
        return bytes([0x80 | count])
    if count < 1 << 16:
        return b"\xde" + count.to_bytes(2, "big")
    return b"\xdf" + count.to_bytes(4, "big")


def decode_shard_index(data: bytes) -> dict[str, bytes]:
    """Return the digests, by package name, of an index that ``encode_shard_index`` made."""
    return _SHARD_INDEX.decode(data).shards
