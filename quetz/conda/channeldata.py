"""``channeldata.json``: what a channel tells of each package name (CEP 38)."""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import msgspec
from rattler import Version

from quetz.conda.texts import encode_json
from quetz.conda.timestamps import to_seconds

FLAGS: Final = (
    "activate.d",
    "binary_prefix",
    "deactivate.d",
    "post_link",
    "pre_link",
    "pre_unlink",
    "text_prefix",
)
TEXTS: Final = (
    "description",
    "dev_url",
    "doc_source_url",
    "doc_url",
    "home",
    "license",
    "source_git_url",
    "source_url",
    "summary",
)


class _Record(msgspec.Struct):
    """The part of a repodata record that is read here."""

    version: str
    build_number: int = 0
    timestamp: int | None = None
    license: str | None = None


class _File(NamedTuple):
    """``about`` and ``run_exports`` are JSON text: of most files neither is read."""

    subdir: str
    record: _Record
    about: str
    run_exports: str


_RECORD: Final = msgspec.json.Decoder(_Record)
_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])


def encode_entry(files: Iterable[tuple[str, str, str, str]]) -> bytes:
    """Return the entry of one name as JSON.

    ``files`` are (subdir, record, about, run_exports), the last three as JSON text: all files
    of the name, at least one. Texts come from its newest file, flags from any file of the
    newest version, since a platform may have scripts that another has not.
    """
    newest_first = sorted(map(_decode, files), key=_age, reverse=True)
    newest = newest_first[0]
    version = newest.record.version
    abouts = [_OBJECT.decode(file.about) for file in newest_first if file.record.version == version]
    texts = {"license": newest.record.license} | abouts[0]
    entry: dict[str, Any] = {key: texts[key] for key in TEXTS if texts.get(key)}
    for flag in FLAGS:
        entry[flag] = any(about.get(flag) for about in abouts)
    entry["run_exports"] = {
        file.record.version: _OBJECT.decode(file.run_exports)
        for file in reversed(newest_first)  # the newest build of each version stays
        if file.run_exports != "{}"
    }
    entry["subdirs"] = sorted({file.subdir for file in newest_first})
    entry["timestamp"] = max(to_seconds(file.record.timestamp or 0) for file in newest_first)
    entry["version"] = version
    return encode_json(entry).encode()


def channeldata_texts(subdirs: Iterable[str]) -> tuple[bytes, bytes]:
    """Return the texts around the one section of a document (``quetz.conda.pieces``)."""
    closing = f'}},"subdirs":{encode_json(sorted(subdirs))}}}'
    return b'{"channeldata_version":1,"packages":{', closing.encode()


def channeldata_fragment(name: str, entry: bytes) -> bytes:
    """Return what the section says of one name, from its ``encode_entry``."""
    return b'"%s":%s' % (name.encode(), entry)


def _decode(file: tuple[str, str, str, str]) -> _File:
    subdir, record, about, run_exports = file
    return _File(subdir, _RECORD.decode(record), about, run_exports)


def _age(file: _File) -> tuple[Version, str, int, int, str]:
    record = file.record
    seconds = to_seconds(record.timestamp or 0)
    return Version(record.version), record.version, record.build_number, seconds, file.subdir
