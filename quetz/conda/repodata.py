"""``repodata.json`` (CEP 36)."""

from collections.abc import Iterable

from quetz.conda.texts import encode_json, join_by_format, join_sections


def repodata_texts(subdir: str) -> tuple[bytes, bytes, bytes, bytes]:
    """Return the texts around the three sections of a document (``quetz.conda.pieces``)."""
    about = encode_json({"subdir": subdir})
    return (
        f'{{"info":{about},"packages":{{'.encode(),
        b'},"packages.conda":{',
        b'},"removed":[',
        b'],"repodata_version":1}',
    )


def repodata_fragments(
    records: Iterable[tuple[str, str]], removed: Iterable[str]
) -> tuple[bytes, bytes, bytes]:
    """Return what the three sections say of one name.

    ``records`` are (file name, record as JSON text); the texts are joined, not decoded.
    ``removed`` are names of files that are not to be installed, and can still be downloaded.
    """
    return *join_by_format(records), ",".join(f'"{name}"' for name in sorted(removed)).encode()


def encode_repodata(
    subdir: str, records: Iterable[tuple[str, str]], removed: Iterable[str] = ()
) -> bytes:
    """Return the repodata of ``subdir``, the records in the order given."""
    return join_sections(repodata_texts(subdir), repodata_fragments(records, removed))
