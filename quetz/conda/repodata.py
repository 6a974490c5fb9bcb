"""``repodata.json`` (CEP 36)."""

from collections.abc import Iterable

from quetz.conda.texts import encode_json, join_by_format, join_object


def encode_repodata(
    subdir: str, records: Iterable[tuple[str, str]], removed: Iterable[str] = ()
) -> bytes:
    """Return the repodata of ``subdir``, the records in the order given.

    ``records`` are (file name, record as JSON text); the texts are joined, not decoded.
    ``removed`` are names of files that are not to be installed, and can still be downloaded.
    """
    members = [
        ("info", encode_json({"subdir": subdir})),
        *join_by_format(records),
        ("removed", encode_json(sorted(removed))),
        ("repodata_version", "1"),
    ]
    return join_object(members).encode()
