"""The other files of info/: what a package holds and tells of itself (CEP 34)."""

import io
from collections.abc import Iterable, Iterator
from typing import Any, Final, Literal, TypeVar

import msgspec

from quetz.conda.channeldata import FLAGS, TEXTS
from quetz.conda.faults import Fault
from quetz.conda.index_json import CheckSpecs, check_specs
from quetz.conda.json_streams import JsonStream
from quetz.conda.strict_json import BadJson

_PATHS: Final = "info/paths.json"
_FILES: Final = "info/files"
_ABOUT: Final = "info/about.json"
RUN_EXPORTS: Final = "info/run_exports.json"
_LONGEST_TEXT: Final = 1 << 16
# Five times what the largest packages have, and read in seconds.
_MOST_PATHS: Final = 500_000
_FOLDERS: Final = ("activate.d", "deactivate.d")
_ACTIONS: Final = {"post_link": "post-link", "pre_link": "pre-link", "pre_unlink": "pre-unlink"}

T = TypeVar("T")


class _Entry(msgspec.Struct):
    path: str = msgspec.field(name="_path")
    path_type: Literal["hardlink", "softlink", "directory"] | None = None
    file_mode: Literal["binary", "text"] | None = None
    prefix_placeholder: str | None = None
    sha256: str | None = None
    size_in_bytes: int | None = None


def read_paths(pieces: Iterable[bytes], name: str) -> set[str]:
    """Return the FLAGS that ``info/paths.json`` raises for the package ``name``.

    The file comes in ``pieces``, of which no more than one is held: it is the one file of
    info/ that may be large.

    Raises:
        Fault: no sound JSON, or of another shape; a path leads out of the package or where
            clients keep their own files; more than 500,000 paths.
    """
    try:
        return _read_paths(JsonStream(pieces), name)
    except BadJson as error:
        raise Fault(_PATHS, str(error)) from None


def _read_paths(stream: JsonStream, name: str) -> set[str]:
    missing, flags = {"paths_version", "paths"}, set()
    for key in stream.keys():  # noqa: SIM118 - no dictionary
        missing.discard(key)
        if key == "paths":
            for number, element in enumerate(stream.elements()):
                _check_count(_PATHS, number)
                entry = _convert(f"{_PATHS}: paths[{number}]", element, _Entry)
                flags |= _flags(_PATHS, entry.path, name)
                if entry.prefix_placeholder:
                    flags.add(f"{entry.file_mode or 'text'}_prefix")
        elif key == "paths_version":
            _convert(f"{_PATHS}: {key}", stream.value(), int)
        else:
            stream.value()
    if missing:
        raise Fault(f"{_PATHS}: {min(missing)}", "is missing")
    return flags


def read_legacy_paths(files: bytes, prefixes: bytes, name: str) -> set[str]:
    """Return the FLAGS by ``info/files`` and ``info/has_prefix``, one path a line.

    Raises:
        Fault: not UTF-8, an unsafe path, or more than 500,000 lines.
    """
    flags = set()
    for path in _lines(_FILES, files):
        flags |= _flags(_FILES, path, name)
    for line in _lines("info/has_prefix", prefixes):
        # A line is the path of a text file, or: placeholder, mode, path.
        if line.strip():
            flags.add("binary_prefix" if line.split()[1:2] == ["binary"] else "text_prefix")
    return flags


def _lines(field: str, data: bytes) -> Iterator[str]:
    for number, line in enumerate(io.BytesIO(data)):
        _check_count(field, number)
        if len(line) > _LONGEST_TEXT:
            raise Fault(field, f"line {number + 1} is longer than {_LONGEST_TEXT} bytes")
        try:
            yield from line.decode().splitlines()
        except UnicodeDecodeError:
            raise Fault(field, "is not UTF-8") from None


def _check_count(field: str, number: int) -> None:
    if number >= _MOST_PATHS:
        raise Fault(field, f"more than {_MOST_PATHS} paths")


def _flags(field: str, path: str, name: str) -> set[str]:
    """Return the flags that one path raises.

    Raises:
        Fault: it is no path that a package may have.
    """
    parts = path.replace("\\", "/").split("/")
    if parts[0] == "" or ".." in parts:
        raise Fault(field, f"{path[:200]!r} leads out of the package")
    if parts[0] == "conda-meta":
        raise Fault(field, f"{path[:200]!r}: conda-meta/ belongs to environments")
    if path.startswith("etc/conda/"):
        return {flag for flag in _FOLDERS if path.startswith(f"etc/conda/{flag}/")}
    for flag, action in _ACTIONS.items():
        if path in (f"bin/.{name}-{action}.sh", f"Scripts/.{name}-{action}.bat"):
            return {flag}
    return set()


def _convert(field: str, value: Any, kind: type[T]) -> T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise Fault(field, str(error)) from None


def read_run_exports(
    exports: Any, document: str = RUN_EXPORTS, check_specs: CheckSpecs = check_specs
) -> dict[str, Any]:
    """Return run_exports, by default those of info/, as an object; a bare list is the weak ones.

    Raises:
        Fault: a list of something else than match specifications.
    """
    if isinstance(exports, list):
        exports = {"weak": exports}
    if not isinstance(exports, dict):
        raise Fault(document, "is no object and no list")
    kinds = {kind: specs for kind, specs in exports.items() if kind != "schema_version"}
    for kind, specs in kinds.items():
        field = f"{document}: {kind[:50]}"
        try:
            check_specs(field, msgspec.convert(specs, list[str]))
        except msgspec.ValidationError as error:
            raise Fault(field, str(error)) from None
    return kinds


def describe(about: Any, flags: set[str]) -> dict[str, Any]:
    """Return what channeldata needs of a package: texts that are there, and all flags.

    Raises:
        Fault: ``info/about.json`` has another shape.
    """
    if not isinstance(about, dict):
        raise Fault(_ABOUT, "is no object")
    texts = {key: text for key in TEXTS if (text := _text(key, about.get(key)))}
    return texts | {flag: flag in flags for flag in FLAGS}


def _text(key: str, value: Any) -> str | list[str] | None:
    """Return a text; builders write some URLs as a list, of which the first one counts."""
    try:
        checked = msgspec.convert(value, str | list[str] | None)
    except msgspec.ValidationError as error:
        raise Fault(f"{_ABOUT}: {key}", str(error)) from None
    if isinstance(checked, list) and key != "source_url":
        checked = checked[0] if checked else None
    if len(str(checked)) > _LONGEST_TEXT:
        raise Fault(f"{_ABOUT}: {key}", f"is longer than {_LONGEST_TEXT} characters")
    return checked
