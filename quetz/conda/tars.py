"""Reading tar as strangers write it (POSIX.1-1988 ustar, POSIX.1-2001 pax, GNU long names).

A reader of our own, for it has to refuse what others guess about: where two readers could see
different members, this one raises. It never holds more than one member's content, and reads
forward only.
"""

import re
from dataclasses import dataclass
from typing import Final, Protocol

from quetz.conda.faults import Fault

BLOCK: Final = 512
_ZEROS: Final = bytes(BLOCK)
_PIECE: Final = 1 << 20
_LONGEST_EXTENSION: Final = 1 << 16
_MOST_MEMBERS: Final = 100_000
_OCTAL: Final = re.compile(rb" *([0-7]*)[ \0]*")
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
    """Yields the members of a tar; ``field`` names the tar in faults."""

    def __init__(self, source: Source, field: str) -> None:
        self._source = source
        self._field = field
        self._left = 0  # bytes of the present member that were not read, padding included
        self._count = 0

    def next(self) -> Member | None:
        """Return the next member, or None after the last.

        Raises:
            Fault: the tar is broken, ambiguous, or beyond the limits.
        """
        self._skip(self._left)
        self._left = 0
        extensions: dict[str, str] = {}
        while (header := self._header()) is not None:
            self._count += 1
            if self._count > _MOST_MEMBERS:
                raise self._fault(f"more than {_MOST_MEMBERS} members")
            flag = header[156:157]
            if flag in _LONG_NAMES:
                self._add(extensions, {_LONG_NAMES[flag]: self._long_name(header)})
            elif flag == b"x":
                self._add(extensions, self._pax(header))
            elif flag == b"g":
                self._check_global(self._pax(header))
            else:
                return self._member(header, extensions)
        if extensions:
            raise self._fault("ends after the name of a member that does not follow")
        self._check_rest()
        return None

    def content(self, member: Member) -> bytes:
        """Return the content of the member that ``next`` returned last."""
        padded = self._read(self._left)
        self._left = 0
        return padded[: member.size]

    def _header(self) -> bytes | None:
        header = self._source.read(BLOCK)
        if header == _ZEROS:
            return None
        if len(header) < BLOCK:
            raise self._fault("is cut off, or no tar")
        checksum = sum(header[:148]) + sum(b" " * 8) + sum(header[156:])
        if checksum != self._number(header[148:156], "checksum"):
            raise self._fault("a header's checksum is wrong")
        return header

    def _member(self, header: bytes, extensions: dict[str, str]) -> Member:
        flag = header[156:157]
        if flag not in _KINDS:
            raise self._fault(f"a member of the unknown or unsafe type {flag!r}")
        name = extensions.get("path") or self._short_name(header)
        size = self._size(header, extensions)
        kind = _KINDS[flag]
        if any(key.startswith("GNU.sparse.") for key in extensions):
            name, kind = extensions.get("GNU.sparse.name", name), OTHER
        elif kind != FILE and size:
            raise self._fault(f"{name!r} is no file and has {size} bytes")
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
        if field[0] == 0x80:  # GNU writes what octal cannot hold as a plain number
            return int.from_bytes(field[1:], "big")
        octal = _OCTAL.fullmatch(field)
        if octal is None:
            raise self._fault(f"a header's {what} is {field!r}")
        return int(octal[1] or b"0", 8)

    def _text(self, field: bytes) -> str:
        # A payload may hold names that are no UTF-8; below info/ they are refused.
        return field.split(b"\0", 1)[0].decode(errors="surrogateescape")

    def _long_name(self, header: bytes) -> str:
        return self._extension(header).removesuffix(b"\0").decode(errors="surrogateescape")

    def _pax(self, header: bytes) -> dict[str, str]:
        records: dict[str, str] = {}
        rest = self._extension(header)
        while rest:
            length = _PAX_LENGTH.match(rest)
            end = int(length[1]) if length else 0
            key, equals, value = rest[length.end() if length else 0 : end].partition(b"=")
            if not equals or not value.endswith(b"\n") or end > len(rest):
                raise self._fault("a pax header is broken")
            self._add(records, {key.decode(errors="replace"): self._pax_value(value[:-1])})
            rest = rest[end:]
        return records

    def _pax_value(self, value: bytes) -> str:
        return value.decode(errors="surrogateescape")

    def _extension(self, header: bytes) -> bytes:
        size = self._number(header[124:136], "size")
        if size > _LONGEST_EXTENSION:
            raise self._fault(f"an extended header of {size} bytes")
        return self._read(size + -size % BLOCK)[:size]

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
