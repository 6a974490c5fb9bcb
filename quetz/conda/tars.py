"""Reading tar as strangers write it (POSIX.1-1988 ustar, POSIX.1-2001 pax, GNU long names).

A reader of our own, for it has to refuse what others guess about: where two readers could see
different members, this one raises. It never holds more than a piece of a member, and reads
forward only.
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from quetz.conda.faults import Fault

BLOCK: Final = 512
_ZEROS: Final = bytes(BLOCK)
_PIECE: Final = 1 << 18
_LONGEST_EXTENSION: Final = 1 << 16
_MOST_MEMBERS: Final = 100_000
_OCTAL: Final = re.compile(rb" *([0-7]*)[ \0]*")
# What is not needed here stops other readers short of the members behind: mode, owner, group,
# time, device.
_NUMBERS: Final = ((100, 108), (108, 116), (116, 124), (136, 148), (329, 337), (337, 345))
_PLAIN_NUMBERS: Final = (0x80, 0xFF)  # how GNU marks what octal cannot hold
_PAX_LENGTH: Final = re.compile(rb"([1-9][0-9]{0,5}) ")
_NUMBER: Final = re.compile(r"[0-9]{1,18}")

FILE: Final = "file"
DIRECTORY: Final = "directory"
OTHER: Final = "other"
# A NUL is what tar wrote for files before POSIX.
_KINDS: Final = {b"0": FILE, b"\0": FILE, b"5": DIRECTORY} | dict.fromkeys(
    (b"1", b"2", b"3", b"4", b"6"), OTHER
)
_LONG_NAMES: Final = {b"L": "path", b"K": "linkpath"}
_EXTENSIONS: Final = frozenset({*_LONG_NAMES, b"x", b"g"})


def _sum(data: bytes) -> int:
    """Return the sum of at most 256 bytes."""
    return (zlib.adler32(data) & 0xFFFF) - 1  # which counts them in no time (RFC 1950, 8.2)


class Source(Protocol):
    """Unpacked bytes, read once from start to end."""

    def read(self, size: int) -> bytes:
        """Return ``size`` bytes, fewer only at the end."""


@dataclass(frozen=True)
class Member:
    """``kind`` is FILE, DIRECTORY, or OTHER for links, devices and sparse files."""

    name: str
    kind: str
    size: int


class TarReader:
    """Reads the members of a tar in their order; ``field`` names the tar in faults.

    ``position`` is the number of bytes read.
    """

    def __init__(self, source: Source, field: str) -> None:
        self._source = source
        self._field = field
        self._left = 0  # bytes of the present member that were not read, padding included
        self._count = 0
        self.position = 0

    def next(self) -> Member | None:
        """Return the next member, or None after the last.

        Raises:
            Fault: the tar is broken, ambiguous, or beyond the limits.
        """
        self._skip(self._left)
        self._left = 0
        extensions: dict[str, str] = {}
        follows_extension = False
        while (header := self._header()) is not None:
            flag = header[156:157]
            if flag not in _EXTENSIONS:
                return self._member(header, extensions)
            self._add(extensions, self._extend(flag, header))
            follows_extension = True
        if follows_extension:
            raise self._fault("ends after an extended header whose member does not follow")
        self._check_rest()
        return None

    def pieces(self, member: Member) -> Iterator[bytes]:
        """Yield the content of the member that ``next`` returned last, up to 256 KiB at once."""
        missing = member.size
        while missing > 0:
            piece = self._read(min(missing, _PIECE))
            missing -= len(piece)
            self._left -= len(piece)
            yield piece

    def _header(self) -> bytes | None:
        header = self._source.read(BLOCK)
        self.position += len(header)
        if header == _ZEROS:
            return None
        self._count += 1
        if self._count > _MOST_MEMBERS:
            raise self._fault(f"more than {_MOST_MEMBERS} members")
        if len(header) < BLOCK:
            raise self._fault("is cut off, or no tar")
        checksum = _sum(header[:148]) + _sum(b" " * 8) + _sum(header[156:412]) + _sum(header[412:])
        if checksum != self._number(header[148:156], "checksum"):
            raise self._fault("a header's checksum is wrong")
        for start, end in _NUMBERS:
            if header[start] not in _PLAIN_NUMBERS and not _OCTAL.fullmatch(header[start:end]):
                raise self._fault(f"a header holds {header[start:end]!r} for a number")
        return header

    def _member(self, header: bytes, extensions: dict[str, str]) -> Member:
        flag = header[156:157]
        if flag not in _KINDS:
            raise self._fault(f"a member of the unknown or unsafe type {flag!r}")
        name = extensions.get("path") or self._short_name(header)
        size = self._size(header, extensions)
        kind = _KINDS[flag]
        if kind != FILE and size:
            raise self._fault(f"{name!r} is no file and has {size} bytes")
        if any(key.startswith("GNU.sparse.") for key in extensions):
            name, kind = extensions.get("GNU.sparse.name", name), OTHER
        if not name or "\0" in name:
            raise self._fault(f"a member of the name {name!r}")
        self._left = size + -size % BLOCK
        return Member(name, kind, size)

    def _short_name(self, header: bytes) -> str:
        name, prefix = self._text(header[:100]), self._text(header[345:500])
        magic = header[257:265]
        if magic not in (b"ustar\x0000", b"ustar  \0", bytes(8)):
            raise self._fault(f"a header of the unknown format {magic!r}")
        if not prefix:
            return name
        if magic != b"ustar\x0000":
            raise self._fault(f"{name!r} has a prefix, which its format has not")
        return f"{prefix}/{name}"

    def _size(self, header: bytes, extensions: dict[str, str]) -> int:
        size = extensions.get("size")
        if size is None:
            return self._number(header[124:136], "size")
        if not _NUMBER.fullmatch(size):
            raise self._fault(f"a member's size is {size[:30]!r}")
        return int(size)

    def _number(self, field: bytes, what: str) -> int:
        if field[0] == _PLAIN_NUMBERS[0]:
            return int.from_bytes(field[1:], "big")
        octal = _OCTAL.fullmatch(field)
        if octal is None:
            raise self._fault(f"a header's {what} is {field!r}")
        return int(octal[1] or b"0", 8)

    def _text(self, field: bytes) -> str:
        # A payload may hold names that are no UTF-8; below info/ they are refused.
        return field.split(b"\0", 1)[0].decode(errors="surrogateescape")

    def _extend(self, flag: bytes, header: bytes) -> dict[str, str]:
        """Return what an extended header says of the member behind it."""
        size = self._number(header[124:136], "size")
        if size > _LONGEST_EXTENSION:
            raise self._fault(f"an extended header of {size} bytes")
        content = self._read(size + -size % BLOCK)[:size]
        if flag in _LONG_NAMES:
            name = content.removesuffix(b"\0").decode(errors="surrogateescape")
            return {_LONG_NAMES[flag]: name}
        records = self._pax_records(content)
        if flag == b"x":
            return records
        self._check_global(records)
        return {}

    def _pax_records(self, content: bytes) -> dict[str, str]:
        records: dict[str, str] = {}
        at = 0
        while at < len(content):
            length = _PAX_LENGTH.match(content, at)
            end = at + int(length[1]) if length else at
            key, equals, value = content[length.end() if length else at : end].partition(b"=")
            if not equals or not value.endswith(b"\n") or end > len(content):
                raise self._fault("a pax header is broken")
            text = value[:-1].decode(errors="surrogateescape")
            self._add(records, {key.decode(errors="replace"): text})
            at = end
        return records

    def _add(self, records: dict[str, str], new: dict[str, str]) -> None:
        for key, value in new.items():
            if key in records:
                raise self._fault(f"a member has two values of {key[:50]!r}")
            records[key] = value

    def _check_global(self, records: dict[str, str]) -> None:
        for key in records:
            if key in ("path", "linkpath", "size") or key.startswith("GNU.sparse."):
                raise self._fault(f"a global pax header sets {key[:50]!r}")

    def _read(self, size: int) -> bytes:
        data = self._source.read(size)
        self.position += len(data)
        if len(data) < size:
            raise self._fault("is cut off")
        return data

    def _skip(self, size: int) -> None:
        while size > 0:
            size -= len(self._read(min(size, _PIECE)))

    def _check_rest(self) -> None:
        while piece := self._source.read(_PIECE):
            if piece.count(0) < len(piece):
                raise self._fault("bytes follow the end of the tar")

    def _fault(self, reason: str) -> Fault:
        return Fault(self._field, reason)
