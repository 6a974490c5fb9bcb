"""Static channels: folders of packages by subdir, as indexers leave them beside their repodata."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec

from quetz.conda.filenames import SUFFIXES
from quetz.conda.names import is_subdir
from quetz.conda.zstd import BadFrame, decompress
from quetz.errors.folders import BadRepodata, NoChannelFolder

# What was before patches comes first: a file that only these remove is to be imported as it is.
_REPODATA: Final = (
    "repodata_from_packages.json",
    "repodata_from_packages.json.zst",
    "repodata.json",
    "repodata.json.zst",
)
_LIMIT: Final = 1 << 30  # bytes, packed and unpacked

_Natural = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Listed(msgspec.Struct, frozen=True):
    """What repodata says of a file's bytes, and when they were indexed, in Unix ms (CEP 47)."""

    size: int | None = None
    sha256: str | None = None
    md5: str | None = None
    indexed_timestamp: _Natural | None = None


class _Repodata(msgspec.Struct):
    packages: dict[str, Listed] = {}
    conda: dict[str, Listed] = msgspec.field(default={}, name="packages.conda")
    removed: list[str] = []


@dataclass(frozen=True, slots=True)
class FolderFile:
    """A package file of a static channel; ``removed`` says that its repodata no longer offers it.

    ``size`` is in bytes, 0 of what has a package's name and is no file; ``listed`` is None without
    a record.
    """

    path: Path
    subdir: str
    filename: str
    size: int
    listed: Listed | None
    removed: bool

    @property
    def place(self) -> str:
        """Where it is in the channel, such as ``linux-64/numpy-2.1.0-0.conda``."""
        return f"{self.subdir}/{self.filename}"


@dataclass(frozen=True)
class ChannelFolder:
    """``files`` are in the order of subdirs and file names; ``missing`` are listed and not there.

    Of these there are the places.
    """

    files: list[FolderFile]
    missing: list[str]


def read_channel_folder(folder: Path) -> ChannelFolder:
    """Look what the channel in ``folder`` consists of; packages are not opened.

    Raises:
        NoChannelFolder: it is no folder, or has no subdir.
        BadRepodata: a repodata.json cannot be read, or is too large.
    """
    if not folder.is_dir():
        raise NoChannelFolder(folder)
    subdirs = sorted(entry.name for entry in os.scandir(folder) if _is_subdir(entry))
    if not subdirs:
        raise NoChannelFolder(folder)
    channel = ChannelFolder([], [])
    for subdir in subdirs:
        repodata = _read_repodata(folder / subdir)
        listed = repodata.packages | repodata.conda
        found = list(_files(folder / subdir, listed, set(repodata.removed)))
        channel.files.extend(found)
        missing = listed.keys() - {file.filename for file in found}
        channel.missing.extend(f"{subdir}/{filename}" for filename in sorted(missing))
    return channel


def _is_subdir(entry: "os.DirEntry[str]") -> bool:
    return is_subdir(entry.name) and Path(entry).is_dir()  # no error of a loop of links


def _files(folder: Path, listed: dict[str, Listed], removed: set[str]) -> Iterator[FolderFile]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if not entry.name.endswith(SUFFIXES):
            continue
        path = Path(entry.path)
        yield FolderFile(
            path=path,
            subdir=folder.name,
            # A name that is no UTF-8 is told as an escape, and refused.
            filename=os.fsencode(entry.name).decode(errors="backslashreplace"),
            size=path.stat().st_size if path.is_file() else 0,
            listed=listed.get(entry.name),
            removed=entry.name in removed,
        )


def _read_repodata(folder: Path) -> _Repodata:
    path = next((folder / name for name in _REPODATA if os.path.lexists(folder / name)), None)
    if path is None:
        return _Repodata()
    try:
        if not path.is_file():
            raise BadRepodata(path, "it is no file")
        if path.stat().st_size > _LIMIT:
            raise BadRepodata(path, f"it is larger than {_LIMIT} bytes")
        data = path.read_bytes()
        if path.suffix == ".zst":
            data = decompress(data, _LIMIT)
        return msgspec.json.decode(data, type=_Repodata)
    except (BadFrame, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRepodata(path, str(error)) from None
    except OSError as error:
        raise BadRepodata(path, error.strerror or type(error).__name__) from None
