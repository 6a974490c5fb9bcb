"""From a package file to its unpacked info: both formats, under limits."""

import bz2
import io
from typing import BinaryIO, Final

from quetz.conda import zips, zstd
from quetz.conda.faults import Fault
from quetz.conda.filenames import PackageFilename
from quetz.conda.tars import DIRECTORY, FILE, Member, TarReader

INFO_LIMIT: Final = 64 << 20
# Where info/ does not come first in a .tar.bz2, what has to be unpacked before it.
_PAYLOAD_LIMIT: Final = 512 << 20
# So much of a .tar.bz2 is cheap to unpack, and shows what is wrong with a small one.
_ALWAYS_READ: Final = 4 << 20
_FREE_OF_RATIO: Final = 1 << 20
_HIGHEST_RATIO: Final = 1000
_PIECE: Final = 1 << 16

# What is read of info/, and the most bytes each may have. What ends up in an index is held
# shorter: one record of megabytes would spoil the shard of its name for every client.
_WANTED: Final = {
    "about.json": 16 << 20,
    "files": 16 << 20,
    "has_prefix": 16 << 20,
    "index.json": 1 << 20,
    "paths.json": 16 << 20,
    "run_exports.json": 1 << 20,
}
# Written by clients when they unpack, and trusted by them (CEP 34, "Additional restrictions").
_FORBIDDEN: Final = frozenset({"repodata_record.json"})


def read_info(file: BinaryIO, filename: PackageFilename) -> dict[str, bytes]:
    """Return the files of info/ that matter to a channel: ``{"index.json": b"{...}"}``.

    A ``.tar.bz2`` of more than 4 MiB is read up to the first member outside info/ that stands
    behind what CEP 34 requires: builders write info/ first, unpacking is slow, and the payload
    of a ``.conda`` is not looked at either.

    Raises:
        Fault: the file is broken, unsafe, or beyond the limits.
    """
    if filename.suffix == ".tar.bz2":
        return _collect(TarReader(_Bz2Source(file), "the tar"), has_payload=True)
    field = f"info-{filename.stem}.tar.zst"
    packed = zips.read_info_tar(file, filename.stem, INFO_LIMIT)
    limit = min(INFO_LIMIT, max(_FREE_OF_RATIO, _HIGHEST_RATIO * len(packed)))
    try:
        tar = zstd.decompress(packed, limit)
    except zstd.BadFrame as error:
        raise Fault(field, str(error)) from None
    return _collect(TarReader(io.BytesIO(tar), field), has_payload=False)


class _Bz2Source:
    """Unpacks one bz2 stream as it is read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._unpacker = bz2.BZ2Decompressor()
        self._packed = 0
        self._unpacked = 0
        self._buffer = b""

    def read(self, size: int) -> bytes:
        pieces = [self._buffer]
        missing = size - len(self._buffer)
        while missing > 0 and not self._unpacker.eof:
            piece = self._unpack()
            pieces.append(piece)
            missing -= len(piece)
        data = b"".join(pieces)
        self._buffer = data[size:]
        return data[:size]

    def _unpack(self) -> bytes:
        packed = self._file.read(_PIECE) if self._unpacker.needs_input else b""
        if not packed and self._unpacker.needs_input:
            raise Fault("the bz2 stream", "is cut off" if self._packed else "is empty")
        self._packed += len(packed)
        try:
            data = self._unpacker.decompress(packed, _PIECE)
        except (OSError, ValueError) as error:
            raise Fault("the bz2 stream", f"is broken or no bz2: {error}") from None
        self._unpacked += len(data)
        if self._unpacked > max(_FREE_OF_RATIO, _HIGHEST_RATIO * self._packed):
            raise Fault("the bz2 stream", f"unpacks to more than {_HIGHEST_RATIO} times its size")
        if self._unpacked > _PAYLOAD_LIMIT:
            raise Fault("info/", f"does not end within the first {_PAYLOAD_LIMIT} bytes of the tar")
        if self._unpacker.eof and (self._unpacker.unused_data or self._file.read(1)):
            raise Fault("the bz2 stream", "other bytes follow it")
        return data


def _collect(tar: TarReader, *, has_payload: bool) -> dict[str, bytes]:
    info = _Info(tar)
    while (member := tar.next()) is not None:
        name = _name_in_info(member)
        if name is not None:
            info.take(member, name)
        elif not has_payload and member.kind != DIRECTORY:
            raise Fault(member.name[:100], "is not below info/, where all of the tar must be")
        elif has_payload and _is_enough(tar, member, info.found):
            break
    return info.found


def _is_enough(tar: TarReader, payload: Member, found: dict[str, bytes]) -> bool:
    is_complete = "index.json" in found and ("paths.json" in found or "files" in found)
    return is_complete and tar.position + payload.size > _ALWAYS_READ


class _Info:
    """The members of info/ as they come."""

    def __init__(self, tar: TarReader) -> None:
        self.found: dict[str, bytes] = {}
        self._tar = tar
        self._seen: set[str] = set()
        self._size = 0

    def take(self, member: Member, name: str) -> None:
        self._size += member.size
        if self._size > INFO_LIMIT:
            raise Fault("info/", f"is larger than {INFO_LIMIT} bytes")
        if member.kind == DIRECTORY:
            return
        if name in self._seen:
            raise Fault(f"info/{name}", "is there twice")
        self._seen.add(name)
        if name in _WANTED:
            self.found[name] = self._content(member, name)

    def _content(self, member: Member, name: str) -> bytes:
        if member.size > _WANTED[name]:
            raise Fault(f"info/{name}", f"is larger than {_WANTED[name]} bytes")
        return self._tar.content(member)


def _name_in_info(member: Member) -> str | None:
    """Return the name relative to info/, None for a member elsewhere.

    Raises:
        Fault: an unsafe path, or one that only some clients take to be in info/.
    """
    name = member.name.removeprefix("./")
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts:
        raise Fault(member.name[:100], "is an absolute path, or one with '..'")
    plain = [part for part in parts if part not in ("", ".")]
    if not plain or plain[0].lower() != "info":
        return None
    field = "/".join(plain)[:200]
    if member.kind not in (FILE, DIRECTORY):
        raise Fault(field, "is a link, a device or a sparse file")
    written = name.removesuffix("/") if member.kind == DIRECTORY else name
    if plain[0] != "info" or plain != written.split("/") or not _is_text(written):
        raise Fault(field, f"its path is written {member.name[:200]!r}")
    inner = "/".join(plain[1:])
    _check_special(member, inner)
    return inner


def _check_special(member: Member, name: str) -> None:
    """Check the names that clients or this server look for, also where case does not count."""
    special = name.lower()
    if special in _FORBIDDEN:
        raise Fault(f"info/{special}", "must not be in a package")
    if special in _WANTED and (name != special or member.kind != FILE):
        raise Fault(f"info/{special}", f"{member.name[:200]!r} is not that file")
    if not name and member.kind != DIRECTORY:
        raise Fault("info", "is not a directory")


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
