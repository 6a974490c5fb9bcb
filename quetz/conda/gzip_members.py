"""The gzip form of a document in pieces (``quetz.conda.pieces``): one member, made by splicing.

Deflate (RFC 1951) refers to nothing before it but the last 32 KiB, and a full flush ends that.
A member (RFC 1952) ends with the CRC-32 of all it holds, which those of the parts make up.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from quetz.conda.pieces import JOINT, Fetch, Part, Piece, Span, Table, unpack_piece
from quetz.conda.splicing import SPACES

GZIP_LEVEL: Final = 6
_START: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_DEFLATE_END: Final = b"\x03\x00"  # an empty block, the last one
_LARGEST_STORED: Final = 0xFFFF


@dataclass(frozen=True)
class ZippedPiece:
    """A piece of a gzip member: where it lies, and what it unpacks to."""

    start: int
    size: int
    crc: int


@dataclass
class Zipped:
    """The gzip form of a document, by the digests of the pieces."""

    pieces: dict[bytes, ZippedPiece] = field(default_factory=dict)


def zip_parts(table: Table, fetch: Fetch, before: Zipped, made: Zipped) -> Iterator[Part]:
    """Yield the parts of a document's gzip form; spans are of the form ``before``.

    What was yielded is entered into ``made``, which is whole at the end.

    Raises:
        TornDocument: as ``splice``.
    """
    at = len(_START)
    crc = raw_size = 0
    yield _START
    for text, packed in _walk(table):
        if text:
            block = _stored(text)
            at += len(block)
            crc, raw_size = zlib.crc32(text, crc), raw_size + len(text)
            yield block
        if packed is None:
            continue
        piece, place = packed
        old = before.pieces.get(piece.digest)
        if old is None:
            raw = unpack_piece(piece, fetch(place, piece.size))
            body = _deflate(raw)
            new = ZippedPiece(at, len(body), zlib.crc32(raw))
            yield body
        else:
            new = ZippedPiece(at, old.size, old.crc)
            yield Span(old.start, old.start + old.size)
        made.pieces[piece.digest] = new
        at += new.size
        crc = _join_crcs(crc, new.crc, piece.raw_size)
        raw_size += piece.raw_size
    yield _end(crc, raw_size)


def _walk(table: Table) -> Iterator[tuple[bytes, tuple[Piece, int] | None]]:
    """Yield each text of a document, unpacked, with the piece behind it and where that lies."""
    for text, pieces, places in zip(table.texts, table.sections, table.places(), strict=False):
        yield text + SPACES, None
        for number, place in enumerate(zip(pieces, places, strict=True)):
            yield (JOINT + SPACES if number else b""), place
    yield table.texts[-1], None


def _deflate(raw: bytes) -> bytes:
    packer = zlib.compressobj(GZIP_LEVEL, wbits=-zlib.MAX_WBITS)
    return packer.compress(raw) + packer.flush(zlib.Z_FULL_FLUSH)


def _stored(text: bytes) -> bytes:
    """Return deflate blocks that hold ``text`` as it is, between two pieces."""
    blocks = []
    for first in range(0, len(text), _LARGEST_STORED):
        some = text[first : first + _LARGEST_STORED]
        size = len(some).to_bytes(2, "little")
        complement = (len(some) ^ 0xFFFF).to_bytes(2, "little")
        blocks.append(b"\x00" + size + complement + some)
    return b"".join(blocks)


def _end(crc: int, raw_size: int) -> bytes:
    """Return what stands behind the pieces: the CRC-32 and the size of what they unpack to."""
    return _DEFLATE_END + crc.to_bytes(4, "little") + (raw_size & 0xFFFFFFFF).to_bytes(4, "little")


_POLYNOMIAL: Final = 0xEDB88320
_ONE: Final = 1 << 31


def _join_crcs(first: int, second: int, second_size: int) -> int:
    """Return the CRC-32 of two texts, one behind the other, from those of each.

    A CRC is a polynomial over GF(2); text behind it multiplies it by x^8 for each byte.
    """
    return _times(_power(second_size), first) ^ second


def _times(a: int, b: int) -> int:
    product = 0
    for bit in range(31, -1, -1):
        if a >> bit & 1:
            product ^= b
        b = b >> 1 ^ _POLYNOMIAL if b & 1 else b >> 1
    return product


def _powers() -> list[int]:
    powers = [_ONE >> 8]
    for _ in range(47):
        powers.append(_times(powers[-1], powers[-1]))
    return powers


_POWERS: Final = _powers()


def _power(size: int) -> int:
    """Return x^(8 size)."""
    product, bit = _ONE, 0
    while size >> bit:
        if size >> bit & 1:
            product = _times(_POWERS[bit], product)
        bit += 1
    return product
