"""Zstandard, as all conda clients can read it: one frame a file."""

from collections.abc import Iterator
from typing import BinaryIO, Final

import zstandard

# The highest level whose window stays within the 2^24 bytes that clients allow for shards.
HIGHEST_LEVEL: Final = 19
# What the ecosystem's packages need at most.
_LARGEST_WINDOW: Final = 2**27
# Each 4 bytes may unpack to a block of 128 KiB (RFC 8878, section 3.1.1.2), and come at once.
_PIECE: Final = 128


class BadFrame(ValueError):
    """The bytes are not exactly one zstd frame within the limits."""


def compress(data: bytes, level: int) -> bytes:
    """Return one frame with the content size in its header.

    Several frames, or a frame without its size, break some client each.
    """
    if not 1 <= level <= HIGHEST_LEVEL:
        raise ValueError(f"level {level} is not in 1..{HIGHEST_LEVEL}")
    return zstandard.ZstdCompressor(level=level).compress(data)


def decompress(data: bytes, limit: int) -> bytes:
    """Return the content of the one frame ``data`` holds, at most ``limit`` bytes of it.

    Raises:
        BadFrame: not one whole frame, bytes follow it, it needs a dictionary or a window above
            128 MiB, or its content is larger than ``limit``.
    """
    try:
        _check_header(data, limit)
        return zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW).decompress(
            data, max_output_size=limit, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise BadFrame(f"not one whole frame of at most {limit} bytes: {error}") from None


def unpack(file: BinaryIO, size: int, limit: int) -> Iterator[bytes]:
    """Yield, up to 4 MiB at once, the content of the frame in the next ``size`` bytes of a file.

    Besides, what is held is the frame's window, no more than what was yielded so far.

    Raises:
        BadFrame: as ``decompress``, though the end is only checked when it is reached.
    """
    unpacker = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW).decompressobj()
    packed = file.read(min(size, _PIECE))
    left = limit
    try:
        _check_header(packed, limit)
        while packed and not unpacker.eof:
            content = unpacker.decompress(packed)
            left -= len(content)
            if left < 0:
                raise BadFrame(f"the content is larger than {limit} bytes")
            yield content
            size -= len(packed)
            packed = file.read(min(size, _PIECE))
    except zstandard.ZstdError as error:
        raise BadFrame(f"not one whole frame: {error}") from None
    if not unpacker.eof:
        raise BadFrame("the frame is cut off")
    if packed or unpacker.unused_data:
        raise BadFrame("other bytes follow the frame")


def _check_header(data: bytes, limit: int) -> None:
    frame = zstandard.get_frame_parameters(data)
    if frame.window_size > _LARGEST_WINDOW:
        raise BadFrame(f"the window of {frame.window_size} bytes is above {_LARGEST_WINDOW}")
    if frame.dict_id:
        raise BadFrame("the frame needs a dictionary")
    # The library holds a frame that names its size to that size, and not to any other.
    if limit < frame.content_size != zstandard.CONTENTSIZE_UNKNOWN:
        raise BadFrame(f"the content is larger than {limit} bytes")
