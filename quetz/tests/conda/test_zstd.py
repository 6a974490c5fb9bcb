import io
import random

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from quetz.conda.zstd import HIGHEST_LEVEL, BadFrame, compress, decompress, unpack


@given(st.binary(max_size=5000), st.integers(1, HIGHEST_LEVEL))
def test_what_is_compressed_comes_back_by_every_way_of_reading(data, level):
    frame = compress(data, level)

    assert decompress(frame, len(data)) == data
    assert b"".join(unpack(io.BytesIO(frame), len(frame), len(data))) == data
    assert zstandard.decompress(frame) == data
    assert zstandard.ZstdDecompressor().stream_reader(io.BytesIO(frame)).read() == data


@pytest.mark.parametrize("level", [1, 3, 9, HIGHEST_LEVEL])
def test_a_frame_names_its_size_and_keeps_a_small_window(level):
    data = b"0123456789abcdef" * (2 << 20)

    frame = zstandard.get_frame_parameters(compress(data, level))

    assert frame.content_size == len(data)
    assert frame.window_size <= 2**24


def test_levels_whose_window_is_too_wide_are_refused():
    with pytest.raises(ValueError, match="level 20"):
        compress(b"", HIGHEST_LEVEL + 1)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"no frame", id="no-frame"),
        pytest.param(compress(b"a", 1)[:-1], id="cut"),
        pytest.param(compress(b"a", 1) * 2, id="two-frames"),
        pytest.param(compress(b"a", 1) + b"\0", id="bytes-behind"),
        pytest.param(compress(b"a" * 101, 1), id="too-large"),
        pytest.param(
            zstandard.ZstdCompressor(write_content_size=False).compress(b"a" * 101),
            id="too-large-unsaid",
        ),
    ],
)
def test_all_but_one_whole_frame_within_the_limit_is_refused(data):
    with pytest.raises(BadFrame):
        decompress(data, 100)
    with pytest.raises(BadFrame):
        list(unpack(io.BytesIO(data), len(data), 100))


def test_a_frame_that_does_not_say_its_size_can_be_read():
    frame = zstandard.ZstdCompressor(write_content_size=False).compress(b"a" * 100)

    assert decompress(frame, 100) == b"a" * 100
    assert b"".join(unpack(io.BytesIO(frame), len(frame), 100)) == b"a" * 100


def test_the_bytes_behind_a_frame_in_a_file_are_left_alone():
    frame = compress(random.Random(0).randbytes(1000), 1)
    file = io.BytesIO(frame + b"more")

    content = b"".join(unpack(file, len(frame), 1000))

    assert content == decompress(frame, 1000)
    assert file.read() == b"more"


def test_a_bomb_comes_in_small_pieces_up_to_the_limit():
    frame = compress(bytes(64 << 20), 3)
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(64 << 20))

    pieces = unpack(io.BytesIO(unsized), len(unsized), 32 << 20)

    assert len(next(pieces)) <= 4 << 20
    with pytest.raises(BadFrame, match="larger than 33554432 bytes"):
        list(pieces)
    with pytest.raises(BadFrame, match="larger than 33554432 bytes"):
        next(unpack(io.BytesIO(frame), len(frame), 32 << 20))
