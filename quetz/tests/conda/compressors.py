"""Compressors whose blocks cannot stand in the middle of a frame, though each frame is sound."""

import random
import string
from typing import Any

import zstandard

_Compressor = zstandard.ZstdCompressor  # tests put those below in its place
_HEADER = _Compressor(write_content_size=False).compress(b"")[:6]
_COMPRESSED, _LAST = 2 << 1, 1


def _letters(seed: int, count: int) -> bytes:
    return "".join(random.Random(seed).choices(string.ascii_letters, k=count)).encode()


class Treeless:
    """Uses the Huffman tree of a text that was compressed before."""

    raw = b'"a":"%s"' % _letters(1, 1_000)

    def __init__(self, **_: Any) -> None:
        pass

    def compress(self, raw: bytes) -> bytes:
        packer = _Compressor(level=3).compressobj()
        head = packer.compress(b'":' * 9 + _letters(2, 4_000))
        head += packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        blocks = packer.compress(raw) + packer.flush()
        assert blocks[3] & 3 == 3, "the block brings a tree of its own"
        return head[: zstandard.frame_header_size(head)] + blocks


class RepeatedOffset:
    """Copies from where the match before it did, which was two bytes back."""

    raw = b'"a":1' + b"23" * 9

    def __init__(self, **_: Any) -> None:
        pass

    def compress(self, raw: bytes) -> bytes:
        literals = raw[:-8]
        # One sequence with all codes in RLE mode: all literals, the latest offset, eight bytes.
        sequence = bytes([1, 0b01_01_01_00, len(literals), 0, 8 - 3, 1])
        block = bytes([len(literals) << 3]) + literals + sequence
        return _HEADER + (len(block) << 3 | _COMPRESSED | _LAST).to_bytes(3, "little") + block


class Wrong:
    """Compresses another text."""

    def __init__(self, **_: Any) -> None:
        pass

    def compress(self, raw: bytes) -> bytes:
        return _Compressor().compress(raw[1:])
