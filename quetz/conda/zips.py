"""The outer container of ``.conda``: a stored zip of two tars and a note (CEP 35).

Some clients read its directory, others its local headers from the start; both must find the
same bytes, so nothing may lie beside, between or below the three entries.
"""

import struct
import zipfile
import zlib
from typing import BinaryIO, Final

from quetz.conda.faults import Fault
from quetz.conda.strict_json import BadJson, decode_strictly

_FIELD: Final = "the zip"
_FORMAT_VERSION: Final = 2
_LARGEST_NOTE: Final = 1 << 16
# Enough for three entries, and for what zipfile searches for the end record.
_LARGEST_DIRECTORY: Final = 1 << 17
_LOCAL_HEADER: Final = struct.Struct("<4s5H3I2H")
_END_RECORD: Final = struct.Struct("<4s4H2IH")
_HAS_DESCRIPTOR: Final = 0x8
_HARMLESS_FLAGS: Final = _HAS_DESCRIPTOR | 0x800 | 0x6  # UTF-8 names; how deflate was tuned
_DESCRIPTOR_SIZES: Final = (12, 16, 20, 24)  # with a signature or not, 32 or 64 bits
_SIZE_IS_ELSEWHERE: Final = 0xFFFFFFFF
_FIRST_DISK: Final = {0, 0xFFFF}  # the latter with zip64, whose own record has the number
_FEW: Final = 5
_PIECE: Final = 1 << 18


class _Sparing:
    """A file that gives at most 128 KiB at once: zipfile trusts the sizes it finds."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seekable = file.seekable
        self.tell = file.tell

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(max(0, offset) if whence == 0 else offset, whence)

    def read(self, size: int = -1) -> bytes:
        limit = _LARGEST_DIRECTORY
        data = self._file.read(size if 0 <= size <= limit else limit + 1)
        if len(data) > limit:
            raise zipfile.BadZipFile("its directory is too large")
        return data


def find_tar(file: BinaryIO, part: str, stem: str, limit: int) -> int:
    """Go to a compressed tar of a ``.conda`` file whose name has this stem.

    ``part`` is ``info``, or ``pkg`` for the payload. Return its size in bytes. Reads the directory,
    the local headers, the note and that tar: the info of a payload of any size takes the same
    effort.

    Raises:
        Fault: a structure that clients would read differently; an entry that is missing, too
            much, or damaged; a tar larger than ``limit`` bytes.
    """
    info, payload, note = f"info-{stem}.tar.zst", f"pkg-{stem}.tar.zst", "metadata.json"
    entries = _entries(file, {info, payload, note})
    starts = {name: _check_local_header(file, entry) for name, entry in entries.items()}
    _check_content(file, entries[note], starts[note], _LARGEST_NOTE)
    _check_note(file.read(entries[note].file_size))
    wanted = f"{part}-{stem}.tar.zst"
    _check_content(file, entries[wanted], starts[wanted], limit)
    return entries[wanted].file_size


def _entries(file: BinaryIO, expected: set[str]) -> dict[str, zipfile.ZipInfo]:
    try:
        archive = zipfile.ZipFile(_Sparing(file))
    except (
        zipfile.BadZipFile,
        NotImplementedError,  # a zip of a later version
        OverflowError,  # offsets beyond any file
        struct.error,
        ValueError,  # names that are no UTF-8, dates that are none
    ) as error:
        raise Fault(_FIELD, f"is broken or no zip: {error}") from None
    entries = archive.infolist()
    names = [entry.orig_filename for entry in entries]
    if len(names) != len(set(names)):
        raise Fault(_FIELD, "holds an entry twice")
    for missing in sorted(expected - set(names)):
        found = ", ".join(repr(name[:100]) for name in names[:_FEW])
        raise Fault(missing, f"is missing; the zip holds {found or 'nothing'}")
    for extra in sorted(set(names) - expected):
        raise Fault(_FIELD, f"holds {extra[:100]!r}, which does not belong there")
    _check_layout(file, archive, sorted(entries, key=lambda entry: entry.header_offset))
    return {entry.orig_filename: entry for entry in entries}


def _check_layout(file: BinaryIO, archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo]) -> None:
    """Check that entries, directory and end record fill the file without gap or overlap."""
    expected: tuple[int, ...] = (0,)
    for entry in entries:
        if entry.header_offset not in expected:
            raise Fault(_FIELD, f"bytes beside its entries, before {entry.orig_filename!r}")
        end = _data_start(file, entry) + entry.compress_size
        expected = (end,)
        if entry.flag_bits & _HAS_DESCRIPTOR:
            expected = tuple(end + size for size in _DESCRIPTOR_SIZES)
    if archive.start_dir not in expected:
        raise Fault(_FIELD, "bytes beside its entries, before its directory")
    file.seek(-_END_RECORD.size, 2)
    signature, *disks, _, count, _, _, comment = _END_RECORD.unpack(file.read(_END_RECORD.size))
    if signature != b"PK\5\6" or comment:
        raise Fault(_FIELD, "a comment or other bytes follow its directory")
    if not set(disks) <= _FIRST_DISK:
        raise Fault(_FIELD, "its end record speaks of several disks")
    if count != len(entries):
        raise Fault(_FIELD, f"its end record counts {count} entries, there are {len(entries)}")


def _data_start(file: BinaryIO, entry: zipfile.ZipInfo) -> int:
    file.seek(entry.header_offset)
    header = file.read(_LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size or not header.startswith(b"PK\3\4"):
        raise Fault(entry.orig_filename, "its local header is missing")
    *_, name_length, extra_length = _LOCAL_HEADER.unpack(header)
    return entry.header_offset + _LOCAL_HEADER.size + int(name_length) + int(extra_length)


def _check_local_header(file: BinaryIO, entry: zipfile.ZipInfo) -> int:
    """Return where the data starts."""
    field = entry.orig_filename
    start = _data_start(file, entry)
    file.seek(entry.header_offset)
    header = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    _, _, flags, method, _, _, crc, packed, unpacked, name_length, _ = header
    if file.read(name_length) != field.encode():
        raise Fault(field, "its local header has another name")
    if method != zipfile.ZIP_STORED or entry.compress_type != zipfile.ZIP_STORED:
        raise Fault(field, "is compressed by the zip; entries must be stored")
    if flags != entry.flag_bits or flags & ~_HARMLESS_FLAGS:
        raise Fault(field, "is encrypted, patched, or flagged twice differently")
    if entry.compress_size != entry.file_size:
        raise Fault(field, "is stored, and its sizes differ")
    if flags & _HAS_DESCRIPTOR:
        return start
    if crc != entry.CRC or not {packed, unpacked} <= {entry.file_size, _SIZE_IS_ELSEWHERE}:
        raise Fault(field, "its local header and the directory disagree")
    return start


def _check_content(file: BinaryIO, entry: zipfile.ZipInfo, start: int, limit: int) -> None:
    """Check the size and the checksum, and go to the start of the data."""
    if entry.file_size > limit:
        raise Fault(entry.orig_filename, f"is larger than {limit} bytes")
    file.seek(start)
    missing, checksum = entry.file_size, 0
    while missing > 0 and (piece := file.read(min(missing, _PIECE))):
        missing -= len(piece)
        checksum = zlib.crc32(piece, checksum)
    if checksum != entry.CRC:
        raise Fault(entry.orig_filename, "its checksum is wrong")
    file.seek(start)


def _check_note(data: bytes) -> None:
    try:
        note = decode_strictly(data)
    except BadJson as error:
        raise Fault("metadata.json", str(error)) from None
    version = note.get("conda_pkg_format_version") if isinstance(note, dict) else None
    if isinstance(version, bool) or version != _FORMAT_VERSION:
        raise Fault("metadata.json", f"conda_pkg_format_version is {version!r}, expected 2")
