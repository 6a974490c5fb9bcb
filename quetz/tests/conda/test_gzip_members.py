import gzip
import shutil
import subprocess
import zlib
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quetz.conda.gzip_members import Zipped, zip_parts
from quetz.conda.pieces import Span, TornDocument
from quetz.tests.conda.documents import NOTHING, TEXTS, File, improved, many

pytestmark = pytest.mark.usefixtures("small_pieces")


@dataclass(frozen=True)
class Member:
    """The gzip form of a document, and the parts it was made of."""

    data: bytes = b""
    form: Zipped = field(default_factory=Zipped)
    copied: int = 0

    def follow(self, file):
        """Make the form of a later document from this one."""
        made, data, copied = Zipped(), b"", 0
        for part in zip_parts(file.table, file.fetch, self.form, made):
            if isinstance(part, Span):
                copied += part.end - part.start
                data += self.data[part.start : part.end]
            else:
                data += part
        return Member(data, made, copied)


def unpack_one(data):
    """Unpack a single member, behind which there is nothing."""
    reader = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    raw = reader.decompress(data)
    assert reader.eof
    assert not reader.unused_data
    return raw


SIZES = st.tuples(*[st.one_of(st.just(0), st.integers(0, 5_000))] * 3)
CHANGES = st.dictionaries(st.sampled_from([f"pkg{n:03}" for n in range(30)]), SIZES, max_size=9)


@given(CHANGES, st.lists(CHANGES, max_size=3))
def test_it_unpacks_to_what_the_document_does_after_any_changes(first, all_changes):
    file = File.build(first)
    member = Member().follow(file)
    assert unpack_one(member.data) == gzip.decompress(member.data) == file.unpacked

    for changes in all_changes:
        file = file.change(changes)
        member = member.follow(file)

        assert unpack_one(member.data) == file.unpacked


def test_a_second_form_copies_the_pieces_that_are_the_same():
    before = File.build(many(100))
    first = Member().follow(before)

    same = first.follow(before)
    changed = first.follow(before.change({"pkg050": NOTHING}))

    assert first.copied == 0
    assert same.data == first.data
    assert same.copied > 0.8 * len(first.data)
    assert 0.5 * len(first.data) < changed.copied < same.copied


def test_what_was_only_compressed_better_is_unpacked_to_the_same():
    before = File.build(many(100))

    after = Member().follow(before).follow(improved(before))

    assert unpack_one(after.data) == before.unpacked


def test_texts_and_pieces_of_many_blocks_are_whole():
    texts = (b'{"text":"%s","one":{' % (b"x" * 200_000), *TEXTS[1:])
    file = File.build({"big": (300_000, 70_000, 1)}).change({}, texts)

    assert unpack_one(Member().follow(file).data) == file.unpacked


def test_a_document_of_nothing_has_a_form():
    file = File.build({})

    assert unpack_one(Member().follow(file).data) == file.unpacked


@pytest.mark.skipif(shutil.which("gzip") is None, reason="the gzip command is not installed")
def test_the_command_finds_nothing_wrong(tmp_path):
    before = File.build(many(100))
    file = before.change({"pkg050": (9, 9, 9)})
    path = tmp_path / "index.gz"
    path.write_bytes(Member().follow(before).follow(file).data)

    subprocess.run(["gzip", "--test", path], check=True)
    unpacked = subprocess.run(["gzip", "-dc", path], capture_output=True, check=True).stdout

    assert unpacked == file.unpacked


def test_a_torn_piece_is_found_when_it_is_zipped():
    file = File.build(many(100))
    damaged = file.damaged_at(next(file.table.places())[2] + 10)

    with pytest.raises(TornDocument):
        Member().follow(damaged)
