"""The check at the end: each form of the index decodes to the records of the database."""

import gzip
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from hashlib import sha256
from itertools import groupby

import msgspec

from benchmarks.client import Connection, connected, get
from benchmarks.figures import Figure
from benchmarks.records import SUBDIR
from benchmarks.scale.bench import Bench, Channel
from quetz.conda.channeldata import encode_entry
from quetz.conda.shards import decode_shard_index
from quetz.conda.texts import encode_json
from quetz.conda.zstd import decompress
from quetz.services.index_builds import INDEX_LIMIT

Said = dict[str, bytes]
"""A digest of what is said of each file, by file name; in channeldata of each name."""

Read = Callable[[Connection, Channel], Said]


class _Document(msgspec.Struct):
    """``repodata.json`` or ``run_exports.json``; what is inside is decoded one by one."""

    packages: dict[str, msgspec.Raw]
    packages_conda: dict[str, msgspec.Raw] = msgspec.field(name="packages.conda")


class _Channeldata(msgspec.Struct):
    packages: dict[str, msgspec.Raw]


class _Shard(msgspec.Struct):
    packages: dict[str, dict[str, object]]
    packages_conda: dict[str, dict[str, object]] = msgspec.field(name="packages.conda")


class _RunExports(msgspec.Struct):
    run_exports: msgspec.Raw


def measure(bench: Bench) -> Iterator[Figure]:
    """Check all channels that there are."""
    with bench.server() as server:
        for channel in bench.channels.values():
            wrong, basis = _check(bench, server.port, channel)
            name = f"{channel}, in every form: entries not as in the database"
            yield Figure(name, [wrong], "entries", 0, basis)


def _check(bench: Bench, port: int, channel: Channel) -> tuple[int, str]:
    """Count what is said otherwise than in the database, what is missing, and what is new."""
    wrong, faults = 0, []
    truths = _truths(bench, channel)
    for truth, forms in zip(truths, FORMS, strict=True):
        for form, read in forms.items():
            # A connection of its own: the server closes those that nobody uses for ten seconds.
            with connected(port) as connection:
                said = read(connection, channel)
            keys = [key for key in said.keys() | truth.keys() if said.get(key) != truth.get(key)]
            if keys:
                wrong += len(keys)
                faults.append(f"{form}: {len(keys)}, such as {min(keys)}")
    records = truths[0]
    digest = sha256(b"".join(records[filename] for filename in sorted(records))).hexdigest()
    checked = f"{sum(map(len, FORMS))} forms, {len(records):,} records, sha256 {digest[:16]}"
    return wrong, "; ".join([checked, *faults])


def _truths(bench: Bench, channel: Channel) -> tuple[Said, ...]:
    """Return what the database says to each group of ``FORMS``."""
    whole: Said = {}
    records: Said = {}
    run_exports: Said = {}
    entries: Said = {}
    query = (
        "SELECT name, filename, record, about, run_exports FROM files"
        " WHERE channel_id = ? AND subdir = ? AND yanked_at IS NULL ORDER BY name, filename"
    )
    with closing(sqlite3.connect(bench.deployment / "quetz.sqlite")) as database:
        rows = database.execute(query, (channel.id, SUBDIR))
        for name, group in groupby(rows, key=lambda row: row[0]):
            some = list(group)
            for _, filename, record, _, exports in some:
                whole[filename] = _digest(_with_run_exports(record, exports))
                records[filename] = _digest(record)
                run_exports[filename] = _digest(exports)
            entries[name] = _digest(encode_entry((SUBDIR, *row[2:]) for row in some))
    return whole, records, run_exports, entries


def _with_run_exports(record: str, run_exports: str) -> str:
    """Return the record as it is in shards (CEP 21), both as JSON."""
    return f'{record.removesuffix("}")},"run_exports":{run_exports}}}'


def _digest(text: str | bytes | msgspec.Raw) -> bytes:
    """Return the digest of a JSON value, however it is written."""
    return _digest_of(msgspec.json.decode(text))


def _digest_of(value: object) -> bytes:
    return sha256(encode_json(value).encode()).digest()


# What the forms say


def _shards(connection: Connection, channel: Channel) -> Said:
    said: Said = {}
    answer = connection.ask(get(f"{channel.folder}/repodata_shards.msgpack.zst")).expect(200)
    for digest in decode_shard_index(decompress(answer.body, INDEX_LIMIT)).values():
        path = f"{channel.folder}/shards/{digest.hex()}.msgpack.zst"
        body = connection.ask(get(path)).expect(200).body
        assert sha256(body).digest() == digest, path
        shard = msgspec.msgpack.decode(decompress(body, INDEX_LIMIT), type=_Shard)
        for filename, record in (shard.packages | shard.packages_conda).items():
            said[filename] = _digest_of(record | _in_hex(record))
    return said


def _in_hex(record: dict[str, object]) -> dict[str, str]:
    hashes = {key: record[key] for key in ("md5", "sha256")}
    return {key: value.hex() for key, value in hashes.items() if isinstance(value, bytes)}


def _repodata(raw: bytes) -> Said:
    return {filename: _digest(record) for filename, record in _files(raw).items()}


def _run_exports(raw: bytes) -> Said:
    return {
        filename: _digest(msgspec.json.decode(entry, type=_RunExports).run_exports)
        for filename, entry in _files(raw).items()
    }


def _channeldata(raw: bytes) -> Said:
    entries = msgspec.json.decode(raw, type=_Channeldata).packages
    return {name: _digest(entry) for name, entry in entries.items()}


def _files(raw: bytes) -> dict[str, msgspec.Raw]:
    document = msgspec.json.decode(raw, type=_Document)
    return document.packages | document.packages_conda


def _read(
    path: str, decode: Callable[[bytes], Said], connection: Connection, channel: Channel
) -> Said:
    """Read a form: ``path`` may end in the encoding that is asked for, after a blank."""
    path, _, encoding = path.partition(" ")
    folder = f"/get/{channel.name}" if decode is _channeldata else channel.folder
    headers = {"Accept_Encoding": encoding} if encoding else {}
    answer = connection.ask(get(f"{folder}/{path}", **headers)).expect(200)
    assert not encoding or f"content-encoding: {encoding}".encode() in answer.head.lower()
    if encoding == "gzip":
        return decode(gzip.decompress(answer.body))
    packed = encoding or path.endswith(".zst")
    return decode(decompress(answer.body, INDEX_LIMIT) if packed else answer.body)


def _readers(decode: Callable[[bytes], Said], *paths: str) -> dict[str, Read]:
    return {path: partial(_read, path, decode) for path in paths}


_ENCODINGS = ("", " gzip", " zstd")

FORMS: tuple[dict[str, Read], ...] = (
    {"shards": _shards},
    _readers(_repodata, "repodata.json.zst", *(f"repodata.json{one}" for one in _ENCODINGS)),
    _readers(
        _run_exports, "run_exports.json.zst", *(f"run_exports.json{one}" for one in _ENCODINGS)
    ),
    _readers(_channeldata, *(f"channeldata.json{one}" for one in _ENCODINGS)),
)
"""Those with records and run_exports, with records, with run_exports, and channeldata."""
