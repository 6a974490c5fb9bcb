"""Repodata records: what an index says of one file (CEP 36, "Package record metadata")."""

from typing import Final

from quetz.conda.archives import PackageArchive
from quetz.conda.texts import encode_json

# Keys that send a client elsewhere or vouch for a file: only the server may say them, so what
# an uploaded package says is left out.
_FOR_THE_SERVER_TO_SAY: Final = frozenset({"attestations_sha256", "url"})


def encode_record(
    archive: PackageArchive, *, size: int, md5: str, sha256: str, indexed_timestamp: int
) -> str:
    """Return the record of a stored file as canonical JSON.

    Every field of ``info/index.json`` is kept, known or not. ``indexed_timestamp`` is the
    moment the file first appeared in this channel, in Unix ms (CEP 47).
    """
    record = {k: v for k, v in archive.index.items() if k not in _FOR_THE_SERVER_TO_SAY}
    record.update(size=size, md5=md5, sha256=sha256, indexed_timestamp=indexed_timestamp)
    return encode_json(record)
