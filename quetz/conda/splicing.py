"""One zstd frame of pieces that are compressed one by one.

A document that changes in one place is compressed there only, and the other pieces are copied.
Clients read one frame a file, so the pieces cannot be frames; they become runs of blocks of one
frame (RFC 8878, section 3.1.1).

A compressor that starts a frame takes three things for granted: that nothing lies before it,
that there are no earlier tables to use again, and that the repeated offsets are 1, 4 and 8
(section 3.1.1.5). The first two hold in the middle of a frame, too, since matches and tables
that are not there cannot be referred to. The third is brought about by a *bridge* before each
piece: a text, and blocks that unpack to spaces, whose matches leave the offsets as they are at
the start. That is what whitespace of JSON is good for.

msgpack has none. But a piece of it seldom needs a bridge: before its first match elsewhere, it
would have to repeat a byte several times. ``pack_alone`` proves that it did not.
"""

from typing import Final

import zstandard

_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_WINDOW_LOG: Final = 23  # 8 MiB: what the highest level needs, and what every client takes
_RAW, _RLE, _COMPRESSED = 0, 1, 2
_LARGEST_BLOCK: Final = 1 << 17
_LAST: Final = 1
_MATCHED: Final = 8


class BadPiece(ValueError):
    """Compressed bytes are not those of a piece."""


def _block(kind: int, content: bytes, size: int | None = None) -> bytes:
    size = len(content) if size is None else size
    return (size << 3 | kind << 1).to_bytes(3, "little") + content


def _match(literals: int, offset: int) -> bytes:
    """Make a block of ``literals`` spaces and a match of eight bytes at ``offset``.

    Its one sequence has all codes in RLE mode (RFC 8878, section 3.1.1.3.2). An offset is written
    as a value three higher, of which the code is the number of bits after the first, so that the
    first, which ends the bitstream, and the others are the value itself. Eight bytes are more
    than the block has in a bridge, as RFC 8478 (section 3.1.1.2) demanded of a compressed block.
    """
    value = offset + 3
    rle_section = bytes([literals << 3 | _RLE]) + b" " if literals else b"\x00"
    bits = value.bit_length()
    sequences = bytes([1, 0b01_01_01_00, literals, bits - 1, _MATCHED - 3])
    return _block(_COMPRESSED, rle_section + sequences + value.to_bytes(-(-bits // 8), "little"))


# The latest offset comes first among the repeated ones.
_RESET: Final = _match(8, offset=8) + _match(0, offset=4) + _match(0, offset=1)
SPACES: Final = b" " * 32
"""What a bridge unpacks to behind its text."""

END: Final = b"\x01\x00\x00"  # an empty block, the last one


def start(raw_size: int) -> bytes:
    """Return the header of a frame that unpacks to ``raw_size`` bytes."""
    return _MAGIC + b"\xc0" + bytes([_WINDOW_LOG - 10 << 3]) + raw_size.to_bytes(8, "little")


def plain(text: bytes) -> bytes:
    """Return blocks that hold ``text`` as it is."""
    blocks = [
        _block(_RAW, text[first : first + _LARGEST_BLOCK])
        for first in range(0, len(text), _LARGEST_BLOCK)
    ]
    return b"".join(blocks)


def bridge(text: bytes) -> bytes:
    """Return blocks that unpack to ``text`` and ``SPACES``, behind which a piece can stand."""
    return plain(text) + _RESET


def pack(raw: bytes, level: int) -> bytes:
    """Compress a piece of at least one byte.

    Raises:
        BadPiece: what the compressor made cannot stand in the middle of a frame.
    """
    packed = _compress(raw, level)
    _check(packed, raw)
    return packed


def pack_alone(raw: bytes, level: int) -> bytes:
    """Compress a piece of at least one byte that can stand behind anything, without a bridge.

    Raises:
        BadPiece: what the compressor made needs what is before it, or is wrong.
    """
    packed = _compress(raw, level)
    _prove(packed, raw)
    return packed


def unpack(packed: bytes, raw_size: int) -> bytes:
    """Return the content of a piece.

    Raises:
        BadPiece: it is not one of ``raw_size`` bytes.
    """
    return _unpack(start(raw_size) + packed + END, raw_size)


def _unpack(frame: bytes, raw_size: int) -> bytes:
    try:
        raw = zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise BadPiece(str(error)) from None
    if len(raw) != raw_size:
        raise BadPiece(f"{len(raw)} bytes instead of {raw_size}")
    return raw


def _compress(raw: bytes, level: int) -> bytes:
    return _strip(zstandard.ZstdCompressor(level=level, write_checksum=False).compress(raw))


def _strip(frame: bytes) -> bytes:
    """Return the blocks of a frame without a checksum, none of them marked as the last."""
    blocks = bytearray(frame[zstandard.frame_header_size(frame) :])
    at = 0
    while True:
        header = int.from_bytes(blocks[at : at + 3], "little")
        size = 1 if header >> 1 & 3 == _RLE else header >> 3
        if header & _LAST:
            break
        at += 3 + size
    blocks[at] ^= _LAST
    return bytes(blocks)


# A piece that leaves other offsets and tables behind than those at the start of a frame.
_UNLIKE_RAW: Final = b"".join(b"%d:%d," % (number % 37, number * number) for number in range(2_000))
_UNLIKE: Final = _strip(zstandard.ZstdCompressor(level=9).compress(_UNLIKE_RAW))


def _check(packed: bytes, raw: bytes) -> None:
    """Unpack a piece between two others, as a client will.

    Raises:
        BadPiece: it does not unpack to ``raw``.
    """
    joint = bridge(b",")
    whole = b"".join((_UNLIKE_RAW, b",", SPACES, raw, b",", SPACES, _UNLIKE_RAW))
    frame = b"".join((start(len(whole)), _UNLIKE, joint, packed, joint, _UNLIKE, END))
    if _unpack(frame, len(whole)) != whole:
        raise BadPiece("it unpacks to other bytes behind another piece")


def _prove(packed: bytes, raw: bytes) -> None:
    """Unpack a piece where it would show that a match of it begins before it.

    First at the start of a frame, where there are no tables to use again; then behind two
    histories whose bytes all differ. Each leaves repeated offsets that lead back to it from
    anywhere in the piece, so that whatever needs them unpacks to other bytes behind the other.

    Raises:
        BadPiece: it needs what is before it, or does not unpack to ``raw``.
    """
    blocks, unpacked = [packed], [raw]
    for byte in (b"\x00", b"\xff"):
        history, content = _history(byte, len(raw) + 1)
        blocks += [history, packed]
        unpacked += [content, raw]
    whole = b"".join(unpacked)
    if _unpack(b"".join((start(len(whole)), *blocks, END)), len(whole)) != whole:
        raise BadPiece("it unpacks to other bytes behind others")


def _history(byte: bytes, offset: int) -> tuple[bytes, bytes]:
    """Return blocks that leave ``offset`` as all repeated offsets, and what they unpack to.

    The latter is one byte over and over, at least ``offset`` times.
    """
    runs = -(-offset // _LARGEST_BLOCK)
    blocks = _block(_RLE, byte, _LARGEST_BLOCK) * runs + _match(0, offset) * 3
    return blocks, byte * (runs * _LARGEST_BLOCK + 3 * _MATCHED)
