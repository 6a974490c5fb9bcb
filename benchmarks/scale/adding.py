"""One package more: from the answer to its upload until every form of the index shows it."""

import json
import time
from dataclasses import dataclass

from benchmarks.client import Answer, Connection, connected, get, head
from benchmarks.scale.bench import Bench, Channel, Package
from benchmarks.servers import Running, wait_until_published
from quetz.conda.shards import decode_shard_index
from quetz.conda.zstd import decompress
from quetz.services.index_builds import INDEX_LIMIT

POLL_SECONDS = 0.001
REST_SECONDS = 0.4
"""The server publishes the JSON of a subdir at most three times a second."""


@dataclass(frozen=True)
class Added:
    """Milliseconds from the 201 to the shard index, and to all forms.

    ``repodata_bytes`` is how long repodata.json.zst is with the package in it.
    """

    shards: float
    everything: float
    repodata_bytes: int


def add_one(bench: Bench, server: Running, channel: Channel, name: str) -> Added:
    """Upload a package, and see it appear.

    Whether a form has changed is asked by HEAD, so that nobody waits for 56 MB; whether it shows
    the package is looked at after the clock.
    """
    package = bench.pack(name)
    upload = bench.upload_request(channel, package)
    with connected(server.port) as connection:
        first, *others = [_conditional(connection, path) for path in paths_of(channel).values()]
        connection.ask(upload).expect(201)
        started = time.perf_counter()
        _wait_for_change(connection, first)
        shards = time.perf_counter() - started
        for request in others:
            _wait_for_change(connection, request)
        everything = time.perf_counter() - started
        size = check_shown(connection, channel, package)
    package.path.unlink()
    wait_until_published(bench.deployment)
    time.sleep(max(REST_SECONDS, everything))
    return Added(shards * 1e3, everything * 1e3, size)


def paths_of(channel: Channel) -> dict[str, str]:
    """Return where the forms are that are published, the shard index first."""
    forms = ("repodata_shards.msgpack.zst", "repodata.json.zst", "run_exports.json.zst")
    paths = {form: f"{channel.folder}/{form}" for form in forms}
    return paths | {"channeldata.json": f"/get/{channel.name}/channeldata.json"}


def check_shown(connection: Connection, channel: Channel, *packages: Package) -> int:
    """Check that each form shows the packages; return the bytes of repodata.json.zst."""
    index, repodata, run_exports, channeldata = [
        connection.ask(get(path)).expect(200) for path in paths_of(channel).values()
    ]
    digests = decode_shard_index(_unpacked(index))
    entries = json.loads(channeldata.body)["packages"]
    documents = {"repodata": _unpacked(repodata), "run_exports": _unpacked(run_exports)}
    for package in packages:
        quoted = f'"{package.filename}":'.encode()
        path = f"{channel.folder}/shards/{digests[package.name].hex()}.msgpack.zst"
        shard = _unpacked(connection.ask(get(path)).expect(200))
        assert package.filename.encode() in shard, f"{package.filename} is not in its shard"
        for form, document in documents.items():
            assert quoted in document, f"{package.filename} is not in {form}"
        version = entries[package.name]["version"]
        assert version == package.version, f"channeldata has {version} of {package.filename}"
    return len(repodata.body)


def _conditional(connection: Connection, path: str) -> bytes:
    """Return the request that is answered 304 as long as ``path`` is what it is now."""
    etag = connection.ask(head(path)).expect(200).etag
    return head(path, If_None_Match=etag.decode())


def _wait_for_change(connection: Connection, request: bytes) -> None:
    while connection.ask(request).expect(200, 304).status == 304:
        time.sleep(POLL_SECONDS)


def _unpacked(answer: Answer) -> bytes:
    return decompress(answer.body, INDEX_LIMIT)
