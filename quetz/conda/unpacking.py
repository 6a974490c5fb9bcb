"""From a package file to its unpacked info: both formats, under limits."""

import bz2
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from quetz.conda import zips, zstd
from quetz.conda.contents import read_legacy_paths, read_paths
from quetz.conda.faults import Fault
from quetz.conda.filenames import PackageFilename
from quetz.conda.tars import DIRECTORY, FILE, Member, TarReader

# A zstd window may hold all of it while it is read.
INFO_LIMIT: Final = 48 << 20
# Where info/ does not come first in a .tar.bz2, what has to be unpacked before it.
_PAYLOAD_LIMIT: Final = 512 << 20
# So much of a .tar.bz2 is cheap to unpack, and shows what is wrong with a small one.
_ALWAYS_READ: Final = 4 << 20
_FREE_OF_RATIO: Final = 1 << 20
_HIGHEST_RATIO: Final = 1000
_PIECE: Final = 1 << 16

# What is read of info/, and the most bytes each may have. Documents are held, and take many
# times their size once decoded; besides, what ends up in an index must be short: one record of
# megabytes would spoil the shard of its name for every client. About.json names each package of
# the builder's environment; the others come to 20 KiB where a package depends on 500 others.
_DOCUMENTS: Final = {"about.json": 1 << 20, "index.json": 1 << 18, "run_exports.json": 1 << 18}
_PATHS: Final = "paths.json"
_PATHS_LIMIT: Final = 32 << 20
_LEGACY: Final = {"files": 16 << 20, "has_prefix": 16 << 20}
# Written by clients when they unpack, and trusted by them (CEP 34, "Additional restrictions").
_FORBIDDEN: Final = frozenset({"repodata_record.json"})
# Where another spelling could be taken for the file itself.
_WANTED: Final = {*_DOCUMENTS, _PATHS, *_LEGACY}


@dataclass(frozen=True)
class Info:
    """``documents`` are by name, ``{"index.json": b"{...}"}``.

    ``flags`` are those that the list of paths raises for channeldata; None without a list.
    """

    documents: dict[str, bytes]
    flags: set[str] | None


def read_info(file: BinaryIO, filename: PackageFilename) -> Info:
    """Return what matters to a channel of info/.

    A ``.tar.bz2`` of more than 4 MiB is read up to the first member outside info/ that stands
    behind what CEP 34 requires: builders write info/ first, unpacking is slow, and the payload
    of a ``.conda`` is not looked at either.

    Raises:
        Fault: the file is broken, unsafe, or beyond the limits.
    """
    if filename.suffix == ".tar.bz2":
        beyond = f"does not end within the first {_PAYLOAD_LIMIT} bytes of the tar"
        tar = _tar_in_bz2(file, _PAYLOAD_LIMIT, Fault("info/", beyond))
    else:
        tar = _tar_in_conda(file, "info", filename, INFO_LIMIT)
    return _collect(tar, filename)


def read_members(
    file: BinaryIO, filename: PackageFilename, limit: int
) -> Iterator[tuple[Member, Iterator[bytes]]]:
    """Yield the members of the payload, with their content in pieces of up to 256 KiB.

    Those of a ``.tar.bz2`` include info/. Content that is not taken is passed over. ``limit``
    is for all of the tar, in bytes.

    Raises:
        Fault: the file is broken, or beyond the limits.
    """
    if filename.suffix == ".tar.bz2":
        tar = _tar_in_bz2(file, limit, Fault("the tar", f"is larger than {limit} bytes"))
    else:
        tar = _tar_in_conda(file, "pkg", filename, limit)
    while (member := tar.next()) is not None:
        yield member, tar.pieces(member)


def _tar_in_bz2(file: BinaryIO, limit: int, beyond: Fault) -> TarReader:
    return TarReader(_Unpacked(_unpack_bz2(file, limit, beyond)), "the tar")


def _tar_in_conda(file: BinaryIO, part: str, filename: PackageFilename, limit: int) -> TarReader:
    field = f"{part}-{filename.stem}.tar.zst"
    size = zips.find_tar(file, part, filename.stem, limit)
    limit = min(limit, max(_FREE_OF_RATIO, _HIGHEST_RATIO * size))
    return TarReader(_Unpacked(_unpack_zstd(file, size, limit, field)), field)


class _Unpacked:
    """Pieces of any size, read as one file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = b""
        self._at = 0

    def read(self, size: int) -> bytes:
        end = self._at + size
        if end <= len(self._piece):
            part = self._piece[self._at : end]
            self._at = end
            return part
        parts, missing = [], size
        while missing > 0:
            if self._at == len(self._piece):
                piece = next(self._pieces, None)
                if piece is None:
                    break
                self._piece, self._at = piece, 0
            part = self._piece[self._at : self._at + missing]
            parts.append(part)
            self._at += len(part)
            missing -= len(part)
        return b"".join(parts)


def _unpack_zstd(file: BinaryIO, size: int, limit: int, field: str) -> Iterator[bytes]:
    try:
        yield from zstd.unpack(file, size, limit)
    except zstd.BadFrame as error:
        raise Fault(field, str(error)) from None


def _unpack_bz2(file: BinaryIO, limit: int, beyond: Fault) -> Iterator[bytes]:
    """Yield the content of the one stream that the file must be, up to 64 KiB at once.

    Raises:
        Fault: it is broken, unpacks to too much for its size, or to more than ``limit`` bytes:
            then it is ``beyond``.
    """
    unpacker = bz2.BZ2Decompressor()
    packed_size = unpacked_size = 0
    while not unpacker.eof:
        packed = file.read(_PIECE) if unpacker.needs_input else b""
        if not packed and unpacker.needs_input:
            raise Fault("the bz2 stream", "is cut off" if packed_size else "is empty")
        packed_size += len(packed)
        try:
            data = unpacker.decompress(packed, _PIECE)
        except (OSError, ValueError) as error:
            raise Fault("the bz2 stream", f"is broken or no bz2: {error}") from None
        unpacked_size += len(data)
        if unpacked_size > max(_FREE_OF_RATIO, _HIGHEST_RATIO * packed_size):
            raise Fault("the bz2 stream", f"unpacks to more than {_HIGHEST_RATIO} times its size")
        if unpacked_size > limit:
            raise beyond
        yield data
    if unpacker.unused_data or file.read(1):
        raise Fault("the bz2 stream", "other bytes follow it")


def _collect(tar: TarReader, filename: PackageFilename) -> Info:
    info, has_payload = _Members(tar, filename), filename.suffix == ".tar.bz2"
    while (member := tar.next()) is not None:
        name = _name_in_info(member)
        if name is not None:
            info.take(member, name)
        elif not has_payload and member.kind != DIRECTORY:
            raise Fault(member.name[:100], "is not below info/, where all of the tar must be")
        elif has_payload and info.is_complete and tar.position + member.size > _ALWAYS_READ:
            break
    return info.read()


class _Members:
    """The members of info/ as they come."""

    def __init__(self, tar: TarReader, filename: PackageFilename) -> None:
        self._tar = tar
        self._package = filename.name
        # Packages older than .conda may come without paths.json.
        self._held = _DOCUMENTS | (_LEGACY if filename.suffix == ".tar.bz2" else {})
        self._found: dict[str, bytes] = {}
        self._flags: set[str] | None = None
        self._seen: set[int] = set()  # hashes: the names may be as long as all of info/
        self._size = 0

    @property
    def is_complete(self) -> bool:
        return "index.json" in self._found and (self._flags is not None or "files" in self._found)

    def take(self, member: Member, name: str) -> None:
        self._size += member.size
        if self._size > INFO_LIMIT:
            raise Fault("info/", f"is larger than {INFO_LIMIT} bytes")
        if member.kind == DIRECTORY:
            return
        if hash(name) in self._seen:
            raise Fault(f"info/{name}", "is there twice")
        self._seen.add(hash(name))
        if name == _PATHS:
            self._flags = read_paths(self._pieces(member, name, _PATHS_LIMIT), self._package)
        elif name in self._held:
            self._found[name] = b"".join(self._pieces(member, name, self._held[name]))

    def _pieces(self, member: Member, name: str, limit: int) -> Iterator[bytes]:
        if member.size > limit:
            raise Fault(f"info/{name}", f"is larger than {limit} bytes")
        return self._tar.pieces(member)

    def read(self) -> Info:
        flags, files = self._flags, self._found.get("files")
        if flags is None and files is not None:
            flags = read_legacy_paths(files, self._found.get("has_prefix", b""), self._package)
        documents = {name: text for name, text in self._found.items() if name in _DOCUMENTS}
        return Info(documents, flags)


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
