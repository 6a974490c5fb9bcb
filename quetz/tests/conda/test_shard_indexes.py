import random
import shutil
import subprocess
from hashlib import sha256

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from quetz.conda import shard_indexes
from quetz.conda.shard_indexes import ShardIndex
from quetz.conda.shards import decode_shard_index, encode_shard_index
from quetz.tests.conda.compressors import Wrong
from quetz.tests.conda.test_splicing import READERS

pytestmark = pytest.mark.usefixtures("few_names")

NOW = 1_700_000_000_007
TARGET, LARGEST, SMALLEST = 8, 16, 2

NAMES = st.from_regex(r"[a-e][0-9]?(-[a-c])?", fullmatch=True)
SHARED = st.integers(0, 3).map(lambda number: bytes([number]) * 32)
DIGESTS = st.binary(min_size=32, max_size=32) | SHARED
CHANGES = st.dictionaries(NAMES, st.none() | DIGESTS, max_size=60)


@pytest.fixture(scope="module")
def few_names():
    """Cut indexes into pieces of few names."""
    with pytest.MonkeyPatch.context() as patch:
        for name, size in {"TARGET": TARGET, "LARGEST": LARGEST, "SMALLEST": SMALLEST}.items():
            patch.setattr(shard_indexes, name, size)
        yield


def many(count, *, start=0):
    numbers = range(start, start + count)
    return {f"pkg-{number:06}": sha256(b"%d" % number).digest() for number in numbers}


def frame_of(index):
    return index.encode("noarch", NOW)[0]


def expected(shards):
    return encode_shard_index("noarch", NOW, dict(sorted(shards.items())))


def after(shards, changes):
    merged = shards | changes
    return {name: digest for name, digest in merged.items() if digest is not None}


@settings(max_examples=150)
@given(CHANGES, st.lists(CHANGES, max_size=6))
def test_after_any_changes_an_index_says_what_a_new_one_would(first, all_changes):
    shards = after({}, first)
    index = ShardIndex.of(shards)

    for changes in [{}, *all_changes]:
        shards = after(shards, changes)
        index = index.change(changes)

        frame, raw_size = index.encode("noarch", NOW)
        raw = zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
        assert raw == expected(shards)
        assert raw_size == len(raw)
        assert list(index.names()) == sorted(shards)
        assert {name: index.find(name) for name in shards} == shards
        assert all(index.has_shard(digest) for digest in shards.values())
        assert not index.has_shard(b"\xff" * 32)


@settings(max_examples=150)
@given(CHANGES, st.lists(CHANGES, max_size=6))
def test_no_piece_is_too_large_and_none_but_a_single_one_is_too_small(first, all_changes):
    index = ShardIndex.of(after({}, first))

    for changes in [{}, *all_changes]:
        index = index.change(changes)

        sizes = [len(piece.shards) for piece in index.pieces]
        assert all(size <= LARGEST for size in sizes)
        assert len(sizes) == 1 or all(size >= SMALLEST for size in sizes)


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 300])
def test_an_index_is_the_same_whether_it_grew_or_was_read(count):
    shards = many(count)
    grown = ShardIndex()
    for name in random.Random(1).sample(sorted(shards), count):
        grown = grown.change({name: shards[name]})

    read = ShardIndex.of(decode_shard_index(zstandard.decompress(frame_of(grown))))

    assert zstandard.decompress(frame_of(read)) == zstandard.decompress(frame_of(grown))


def test_a_change_makes_only_the_pieces_of_its_names_anew():
    before = ShardIndex.of(many(300))

    index = before.change({"pkg-000123": bytes(32)})

    assert len(index.pieces) == len(before.pieces)
    [new] = set(index.pieces) - set(before.pieces)
    assert new.shards["pkg-000123"] == bytes(32)


def test_the_index_before_a_change_stays_as_it_was():
    before = ShardIndex.of(many(300))

    before.change(dict.fromkeys(before.names()))
    before.change({"pkg-000123": bytes(32)})

    assert zstandard.decompress(frame_of(before)) == expected(many(300))


@pytest.mark.parametrize(
    "name", [pytest.param("a", id="before"), pytest.param("z", id="behind"), "pkg-000050a"]
)
def test_a_new_name_finds_its_place(name):
    index = ShardIndex.of(many(100)).change({name: bytes(32)})

    assert zstandard.decompress(frame_of(index)) == expected(many(100) | {name: bytes(32)})


@pytest.mark.parametrize("count", [15, 16, (1 << 16) - 1, 1 << 16])
def test_any_number_of_names_is_read(count):
    shards = many(count)

    index = ShardIndex.of(shards)

    assert decode_shard_index(zstandard.decompress(frame_of(index))) == shards


def test_every_reader_finds_one_frame_in_the_pieces():
    index = ShardIndex.of(many(300)).change(dict.fromkeys(many(20, start=100)))
    frame = frame_of(index)

    told = zstandard.get_frame_parameters(frame)

    assert len(index.pieces) > 20
    assert told.content_size == len(expected(dict.fromkeys(index.names(), bytes(32))))
    assert told.window_size <= 1 << 24
    assert (told.has_checksum, told.dict_id) == (False, 0)
    for reader, read in READERS.items():
        assert decode_shard_index(read(frame)).keys() == set(index.names()), reader


@pytest.mark.skipif(shutil.which("zstd") is None, reason="the zstd command is not installed")
def test_the_command_unpacks_an_index():
    frame = frame_of(ShardIndex.of(many(300)))

    unpacked = subprocess.run(["zstd", "-dc"], input=frame, capture_output=True, check=True).stdout

    assert unpacked == expected(many(300))


def test_pieces_that_cannot_be_compressed_soundly_are_kept_as_they_are(monkeypatch):
    index = ShardIndex.of(many(20))
    with monkeypatch.context() as patch:
        patch.setattr("zstandard.ZstdCompressor", Wrong)
        frame = frame_of(index)

    assert all(piece.packed.is_plain for piece in index.pieces)
    assert zstandard.decompress(frame) == expected(many(20))


def test_a_piece_that_begins_with_a_repeated_letter_is_kept_as_it_is():
    index = ShardIndex.of({"a" * 60: b"\1" * 32})

    assert zstandard.decompress(frame_of(index)) == expected({"a" * 60: b"\1" * 32})
    assert [piece.packed.is_plain for piece in index.pieces] == [True]
