"""All forms of the index of a subdir, read one after another, to be compared.

`read_polls` reads while others write: what it gives is for `quetz.testing.histories.check_polls`.
`read_quiet` reads when nobody does: then all families have to say the same.
"""

import gzip
from collections.abc import Callable
from hashlib import sha256
from typing import Any
from urllib.parse import urljoin

import msgspec

from quetz.conda.zstd import decompress
from quetz.services.index_builds import INDEX_LIMIT
from quetz.testing.histories import Listing, Poll
from quetz.testing.shard_reader import read_all

Fetch = Callable[[str], tuple[str, bytes]]
"""Returns the ``ETag`` and the body at a URL, which was asked for without an encoding."""

MARKER = "repodata.json.zst"


def _unpack(body: bytes) -> bytes:
    return decompress(body, INDEX_LIMIT)


_REPODATA: dict[str, Callable[[bytes], bytes]] = {
    "repodata.json": bytes,
    "repodata.json.zst": _unpack,
    "repodata.json.gz": gzip.decompress,
}
_RUN_EXPORTS: dict[str, Callable[[bytes], bytes]] = {
    "run_exports.json": bytes,
    "run_exports.json.zst": _unpack,
}


def read_polls(fetch: Fetch, folder: str) -> list[Poll]:
    """Read the forms of the json family at the URL ``folder``, between two looks at its ETag.

    The first poll has documents as they are, byte by byte, the second one the names of files,
    which ``run_exports.json`` and ``repodata.json`` share.
    """
    before, _ = fetch(urljoin(folder, MARKER))
    raw = _read(fetch, folder, _REPODATA)
    exports = _read(fetch, folder, _RUN_EXPORTS)
    after, _ = fetch(urljoin(folder, MARKER))
    names: dict[str, object] = {
        form: sorted(_files(document)) for form, document in (raw | exports).items()
    }
    return [
        Poll(before, after, {form: sha256(document).digest() for form, document in raw.items()}),
        Poll(before, after, {form: sha256(body).digest() for form, body in exports.items()}),
        Poll(before, after, names),
    ]


def read_quiet(fetch: Fetch, folder: str) -> dict[str, Listing]:
    """Return what the forms of both families say: ``{form: {file name: sha256}}``.

    Raises:
        BadShards: some client could not read the shards.
    """
    found: dict[str, Listing] = {"shards": read_shard_listing(fetch, folder)}
    for form, document in _read(fetch, folder, _REPODATA).items():
        found[form] = {name: record["sha256"] for name, record in _files(document).items()}
    return found


def read_shard_listing(fetch: Fetch, folder: str) -> dict[str, str]:
    """Return what the shard index and its shards say: ``{file name: sha256}``.

    Raises:
        BadShards: some client could not read them.
    """
    records = read_all(lambda url: fetch(url)[1], folder)
    return {name: record["sha256"].hex() for name, record in records.items()}


def read_listing(fetch: Fetch, folder: str, form: str) -> dict[str, str]:
    """Return what one form of the repodata says: ``{file name: sha256}``."""
    document = _REPODATA[form](fetch(urljoin(folder, form))[1])
    return {name: record["sha256"] for name, record in _files(document).items()}


def _read(
    fetch: Fetch, folder: str, forms: dict[str, Callable[[bytes], bytes]]
) -> dict[str, bytes]:
    return {form: unpack(fetch(urljoin(folder, form))[1]) for form, unpack in forms.items()}


def _files(document: bytes) -> dict[str, Any]:
    decoded = msgspec.json.decode(document)
    files: dict[str, Any] = decoded["packages"] | decoded["packages.conda"]
    return files
