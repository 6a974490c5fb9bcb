"""The other files of info/: what a package holds and tells of itself (CEP 34)."""

from typing import Any, Final, Literal

import msgspec

from quetz.conda.channeldata import FLAGS, TEXTS
from quetz.conda.faults import Fault
from quetz.conda.index_json import check_specs

_PATHS: Final = "info/paths.json"
_ABOUT: Final = "info/about.json"
_RUN_EXPORTS: Final = "info/run_exports.json"
_LONGEST_TEXT: Final = 1 << 16


class _Entry(msgspec.Struct):
    path: str = msgspec.field(name="_path")
    path_type: Literal["hardlink", "softlink", "directory"] | None = None
    file_mode: Literal["binary", "text"] | None = None
    prefix_placeholder: str | None = None
    sha256: str | None = None
    size_in_bytes: int | None = None


class Paths(msgspec.Struct):
    """``info/paths.json``."""

    paths_version: int
    paths: list[_Entry]


def read_paths(paths: Any) -> Paths:
    """Return the parsed ``info/paths.json``.

    Raises:
        Fault: it has another shape, or a path leads out of the package or where clients keep
            their own files.
    """
    try:
        found = msgspec.convert(paths, Paths)
    except msgspec.ValidationError as error:
        raise Fault(_PATHS, str(error)) from None
    _check_paths(_PATHS, [entry.path for entry in found.paths])
    return found


def read_legacy_paths(files: bytes, prefixes: bytes) -> Paths:
    """Return what ``info/files`` and ``info/has_prefix`` say, one path a line.

    Raises:
        Fault: not UTF-8, or an unsafe path.
    """
    try:
        names = files.decode().splitlines()
        lines = prefixes.decode().splitlines()
    except UnicodeDecodeError:
        raise Fault("info/files", "is not UTF-8") from None
    _check_paths("info/files", names)
    # A line is the path of a text file, or: placeholder, mode, path.
    modes = [line.split()[1:2] == ["binary"] for line in lines if line.strip()]
    entries = [_Entry(name) for name in names]
    entries += [
        _Entry("", file_mode="binary" if is_binary else "text", prefix_placeholder="/")
        for is_binary in modes
    ]
    return Paths(1, entries)


def _check_paths(field: str, paths: list[str]) -> None:
    for path in paths:
        parts = path.replace("\\", "/").split("/")
        if parts[0] == "" or ".." in parts:
            raise Fault(field, f"{path[:200]!r} leads out of the package")
        if parts[0] == "conda-meta":
            raise Fault(field, f"{path[:200]!r}: conda-meta/ belongs to environments")


def read_run_exports(exports: Any) -> dict[str, Any]:
    """Return ``info/run_exports.json`` as an object; a bare list is the weak ones.

    Raises:
        Fault: a list of something else than match specifications.
    """
    if isinstance(exports, list):
        exports = {"weak": exports}
    if not isinstance(exports, dict):
        raise Fault(_RUN_EXPORTS, "is no object and no list")
    kinds = {kind: specs for kind, specs in exports.items() if kind != "schema_version"}
    for kind, specs in kinds.items():
        field = f"{_RUN_EXPORTS}: {kind[:50]}"
        try:
            check_specs(field, msgspec.convert(specs, list[str]))
        except msgspec.ValidationError as error:
            raise Fault(field, str(error)) from None
    return kinds


def describe(about: Any, paths: Paths, name: str) -> dict[str, Any]:
    """Return what channeldata needs of a package: texts that are there, and all flags.

    Raises:
        Fault: ``info/about.json`` has another shape.
    """
    if not isinstance(about, dict):
        raise Fault(_ABOUT, "is no object")
    texts = {key: text for key in TEXTS if (text := _text(key, about.get(key)))}
    return texts | dict(zip(FLAGS, _flags(paths, name), strict=True))


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


def _flags(paths: Paths, name: str) -> list[bool]:
    """Return the flags in the order of FLAGS."""
    names = {entry.path for entry in paths.paths}
    modes = {entry.file_mode or "text" for entry in paths.paths if entry.prefix_placeholder}

    def has_folder(folder: str) -> bool:
        return any(path.startswith(f"etc/conda/{folder}/") for path in names)

    def has_script(action: str) -> bool:
        return bool(names & {f"bin/.{name}-{action}.sh", f"Scripts/.{name}-{action}.bat"})

    return [
        has_folder("activate.d"),
        "binary" in modes,
        has_folder("deactivate.d"),
        has_script("post-link"),
        has_script("pre-link"),
        has_script("pre-unlink"),
        "text" in modes,
    ]
