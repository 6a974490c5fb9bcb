import io
import random
import shutil
import subprocess
import sys

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from quetz.conda.splicing import END, SPACES, BadPiece, bridge, pack, pack_alone, start, unpack
from quetz.tests.conda.compressors import RepeatedOffset, Treeless, Wrong

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BLOCK = 128 << 10
WINDOW = 8 << 20


def bit_by_bit(frame):
    reader = zstandard.ZstdDecompressor().decompressobj()
    raw = b"".join(reader.decompress(frame[at : at + 999]) for at in range(0, len(frame), 999))
    assert reader.eof
    assert not reader.unused_data
    return raw


READERS = {
    "zstandard, at once": zstandard.decompress,
    "zstandard, as a stream": lambda frame: (
        zstandard.ZstdDecompressor().stream_reader(io.BytesIO(frame)).read()
    ),
    "zstandard, bit by bit": bit_by_bit,
    "zstd of Python, at once": zstd.decompress,
    "zstd of Python, as a file": lambda frame: zstd.ZstdFile(io.BytesIO(frame)).read(),
}


def records(size, seed=0):
    """Return text like that of an index, of about ``size`` bytes."""
    chance = random.Random(seed)
    text = b""
    while len(text) < size:
        name = chance.choice([b"numpy", b"scipy", b"pandas", b"zlib"])
        for build in range(50):
            text += b'"%s-%d.conda":{"sha256":"%064x"},' % (name, build, chance.getrandbits(256))
    return text[:size]


def noise(size, seed=0):
    return random.Random(seed).randbytes(size)


SIZES = st.one_of(st.integers(1, 100), st.integers(BLOCK - 3, BLOCK + 3), st.integers(1, 300_000))
PIECES = st.one_of(
    st.binary(min_size=1, max_size=50),
    st.builds(records, SIZES, st.integers(0, 5)),
    st.builds(noise, SIZES, st.integers(0, 5)),
    st.builds(lambda text, times: text * times, st.binary(min_size=1, max_size=9), SIZES),
)
LEVELS = st.integers(1, 19)


def splice(pieces, *, between=b",\n"):
    """Return the frame of some pieces, each with its level, and what it should unpack to."""
    raw = SPACES + (between + SPACES).join(piece for piece, _ in pieces)
    bodies = [pack(piece, level) for piece, level in pieces]
    return start(len(raw)) + bridge(b"") + bridge(between).join(bodies) + END, raw


@settings(max_examples=40)
@given(st.lists(st.tuples(PIECES, LEVELS), min_size=1, max_size=5))
def test_every_reader_unpacks_pieces_of_any_kind_level_and_order(pieces):
    frame, raw = splice(pieces)

    for reader, read in READERS.items():
        assert read(frame) == raw, reader


@settings(max_examples=40)
@given(st.lists(PIECES, min_size=2, max_size=4), st.data())
def test_pieces_can_stand_in_another_order_without_being_compressed_again(raws, data):
    packed = {raw: pack(raw, data.draw(LEVELS)) for raw in raws}
    order = data.draw(st.permutations(raws))
    raw = SPACES.join(order)

    frame = start(len(raw)) + bridge(b"").join(packed[one] for one in order) + END

    assert zstandard.decompress(frame) == raw


def alone(raw, level):
    """Return the blocks of a piece that needs no bridge, or None where it would."""
    try:
        return pack_alone(raw, level)
    except BadPiece:
        return None


@settings(max_examples=100)
@given(st.lists(st.tuples(PIECES, LEVELS), min_size=1, max_size=6), st.data())
def test_pieces_that_need_no_bridge_stand_behind_any_others(pieces, data):
    packed = [(raw, blocks) for raw, level in pieces if (blocks := alone(raw, level))]
    order = data.draw(st.permutations([*packed, *packed]))
    raw = b"".join(raw for raw, _ in order)

    frame = start(len(raw)) + b"".join(blocks for _, blocks in order) + END

    for reader, read in READERS.items():
        assert read(frame) == raw, reader


@pytest.mark.parametrize("raw", [records(BLOCK), noise(3 * BLOCK), b"x"], ids=len)
@pytest.mark.parametrize("level", [1, 9, 19])
def test_a_piece_that_repeats_nothing_at_its_start_needs_no_bridge(raw, level):
    assert unpack(pack_alone(raw, level), len(raw)) == raw


@pytest.mark.parametrize("level", [1, 3, 9, 19])
def test_a_match_at_an_offset_of_the_frames_start_is_found(level):
    raw = b"<" + b"a" * 99 + b">" + noise(99)

    with pytest.raises(BadPiece):
        pack_alone(raw, level)
    assert unpack(pack(raw, level), len(raw)) == raw


@given(PIECES, LEVELS)
@settings(max_examples=30)
def test_a_piece_is_unpacked_by_itself(raw, level):
    packed = pack(raw, level)

    assert unpack(packed, len(raw)) == raw
    with pytest.raises(BadPiece):
        unpack(packed, len(raw) + 1)
    with pytest.raises(BadPiece):
        unpack(packed[:-1], len(raw))


@pytest.mark.parametrize("compressor", [Treeless, RepeatedOffset])
def test_blocks_that_need_those_before_them_are_no_piece(monkeypatch, compressor):
    monkeypatch.setattr("zstandard.ZstdCompressor", compressor)

    with pytest.raises(BadPiece):
        pack(compressor.raw, 9)
    with pytest.raises(BadPiece):
        pack_alone(compressor.raw, 9)


@pytest.mark.parametrize("packed_by", [pack, pack_alone])
def test_what_unpacks_to_another_text_is_no_piece(monkeypatch, packed_by):
    monkeypatch.setattr("zstandard.ZstdCompressor", Wrong)

    with pytest.raises(BadPiece):
        packed_by(records(1_000), 9)


@pytest.mark.parametrize("between", [b"", b",", b"x" * (3 * BLOCK + 1)], ids=len)
def test_a_bridge_carries_any_text(between):
    frame, raw = splice([(records(BLOCK), 9), (records(BLOCK, 1), 1)], between=between)

    for reader, read in READERS.items():
        assert read(frame) == raw, reader


@pytest.mark.parametrize(
    "piece",
    [
        pytest.param((records(2 << 20) * 5, 3), id="records"),
        pytest.param((noise(WINDOW + BLOCK) + noise(WINDOW + BLOCK), 1), id="noise"),
        pytest.param((b" " * (2 * WINDOW + 1), 19), id="one-byte-over-and-over"),
    ],
)
def test_a_piece_may_be_larger_than_the_window(piece):
    frame, raw = splice([(b"before", 19), piece, (b"behind", 1)])

    for reader, read in READERS.items():
        assert read(frame) == raw, reader


@pytest.mark.skipif(shutil.which("zstd") is None, reason="the zstd command is not installed")
def test_the_command_finds_one_frame_in_many_pieces(tmp_path):
    levels = [19, 1, 9, 3]
    frame, raw = splice([(records(300_000, seed), level) for seed, level in enumerate(levels)])
    file = tmp_path / "index.zst"
    file.write_bytes(frame)

    unpacked = subprocess.run(["zstd", "-dc", file], capture_output=True, check=True).stdout
    listed = subprocess.run(["zstd", "-lv", file], capture_output=True, check=True).stdout

    assert unpacked == raw
    assert b"# Zstandard Frames: 1" in listed


@settings(max_examples=20)
@given(st.lists(st.tuples(PIECES, LEVELS), min_size=1, max_size=3))
def test_it_is_one_frame_with_its_size_and_a_window_of_8_mib_and_no_checksum(pieces):
    frame, raw = splice(pieces)

    told = zstandard.get_frame_parameters(frame)

    assert (told.content_size, told.window_size) == (len(raw), WINDOW)
    assert (told.has_checksum, told.dict_id) == (False, 0)
    assert zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False) == raw


def test_a_frame_may_be_larger_than_4_gib():
    told = zstandard.get_frame_parameters(start(5 << 32))

    assert told.content_size == 5 << 32


def test_no_compressed_block_of_a_bridge_is_larger_than_what_it_unpacks_to():
    # An edition of the format forbade it, so that a reader might refuse it.
    for size, unpacked in blocks(bridge(b"")):
        assert size < unpacked


def blocks(packed):
    """Return the size of each block, and how many bytes it unpacks to."""
    sizes = []
    at = unpacked = 0
    while at < len(packed):
        size = int.from_bytes(packed[at : at + 3], "little") >> 3
        at += 3 + size
        some = zstandard.ZstdDecompressor().decompressobj()
        now = len(some.decompress(start(len(SPACES)) + packed[:at]))
        sizes.append((size, now - unpacked))
        unpacked = now
    return sizes
