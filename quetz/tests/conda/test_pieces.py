import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quetz.conda import pieces
from quetz.conda.filenames import name_of_file
from quetz.conda.pieces import (
    BEST_LEVEL,
    JOINT,
    LEVEL,
    PLAIN,
    Builder,
    Span,
    Table,
    TornDocument,
    exchange,
    improve,
    is_whole,
    splice,
)
from quetz.tests.conda.compressors import RepeatedOffset, Treeless
from quetz.tests.conda.documents import (
    LARGEST,
    NOTHING,
    SMALLEST,
    TARGET,
    TEXTS,
    File,
    improved,
    many,
)

pytestmark = pytest.mark.usefixtures("small_pieces")

NAMES = st.from_regex(r"[a-d][0-9]?(-[a-c])?", fullmatch=True)
SMALL_SIZES = st.integers(0, TARGET // 2 - 50)
ANY_SIZES = st.one_of(st.just(0), st.integers(0, 300), st.integers(1, 3 * LARGEST))


def changes_of(sizes):
    return st.dictionaries(NAMES, st.one_of(st.just(NOTHING), st.tuples(sizes, sizes, sizes)))


@settings(max_examples=60)
@given(changes_of(ANY_SIZES), st.lists(changes_of(ANY_SIZES), max_size=5))
def test_after_any_changes_a_document_says_what_a_new_one_would(first, all_changes):
    file = File.build(first)
    assert file.content == file.expected

    for changes in all_changes:
        file = file.change(changes)

        assert file.content == file.expected
        assert file.table.raw_size == len(file.unpacked)
        assert is_whole(file.table, file.data)
        for section in range(3):
            for cut in file.cut(section):
                size = len(JOINT.join(cut))
                assert size <= LARGEST or len(JOINT.join(cut[:-1])) <= TARGET


@settings(max_examples=60)
@given(changes_of(SMALL_SIZES), st.lists(changes_of(SMALL_SIZES), max_size=5))
def test_only_the_last_piece_of_a_section_is_small_where_no_name_fills_one(first, all_changes):
    file = File.build(first)

    for changes in all_changes:
        file = file.change(changes)

        for section in file.table.sections:
            assert all(piece.raw_size >= SMALLEST for piece in section[:-1])


def test_a_change_copies_all_pieces_but_those_of_its_names():
    before = improved(File.build(many(100)))

    after = before.change({"pkg050": (150, 150, 150)})

    for old, new in zip(before.table.sections[:2], after.table.sections[:2], strict=True):
        assert [piece.first for piece in new] == [piece.first for piece in old]
        assert len(set(new) - set(old)) == 1
    written = sum(len(part) for part in after.parts if isinstance(part, bytes))
    copied = sum(part.end - part.start for part in after.parts if isinstance(part, Span))
    assert copied > 5 * written


def test_what_changes_nothing_gives_the_same_table_and_bytes():
    before = improved(File.build(many(100)))

    after = before.change({"pkg050": before.model["pkg050"], "never-there": NOTHING})

    assert after.table == before.table
    assert after.data == before.data


def test_a_change_that_one_section_does_not_show_copies_all_of_it():
    before = improved(File.build(many(100)))

    after = before.change({"pkg050": (150, 200, 200), "new": (0, 0, 1)})

    assert after.table.sections[1] == before.table.sections[1]
    assert after.table.sections[0] != before.table.sections[0]
    assert after.table.sections[2] != before.table.sections[2]


@pytest.mark.parametrize(
    "name", [pytest.param("a", id="before"), pytest.param("z", id="behind"), "pkg050a"]
)
def test_a_new_name_finds_its_place(name):
    before = File.build(many(100))

    after = before.change({name: (100, 100, 100)})

    assert after.content == after.expected
    assert len(after.table.sections[0]) <= len(before.table.sections[0])


def test_all_names_may_go_and_others_come():
    full = File.build(many(100))

    empty = full.change(dict.fromkeys(full.model, NOTHING))
    again = empty.change(many(50))

    assert empty.content == [[], [], []]
    assert empty.table.sections == ((), (), ())
    assert again.content == again.expected


@pytest.mark.parametrize("count", range(25, 45))
def test_many_new_names_at_once_make_pieces_of_about_the_same_size(count):
    file = File.build({}).change(many(count, 165))

    sizes = [piece.raw_size for piece in file.table.sections[0]]

    assert min(sizes) > max(sizes) / 2


@pytest.mark.parametrize("number", [0, 5, -2, -1])
def test_what_is_left_of_a_piece_joins_its_neighbour(number):
    before = File.build(many(99))
    section = before.table.sections[0]
    [_, *others] = [name_of_file(part.split(b'"')[1].decode()) for part in before.cut(0)[number]]

    after = before.change(dict.fromkeys(others, NOTHING))

    assert after.content == after.expected
    assert len(after.table.sections[0]) == len(section) - 1
    assert min(piece.raw_size for piece in after.table.sections[0]) >= SMALLEST


def test_names_that_go_with_the_last_piece_touch_no_other():
    before = improved(File.build(many(100)))
    last = before.table.sections[0][-1].first

    after = before.change({name: NOTHING for name in before.model if name >= last})

    assert after.content == after.expected
    assert after.table.sections[0] == before.table.sections[0][:-1]


def test_the_texts_around_the_sections_may_change():
    before = File.build(many(100))

    after = before.change({}, (b'{"zero":[],"one":{', *TEXTS[1:]))

    assert json.loads(after.unpacked) == {"zero": [], **json.loads(before.unpacked)}
    assert after.table.sections == before.table.sections
    assert is_whole(after.table, after.data)


def test_a_table_is_read_as_it_was_written():
    table = File.build(many(100)).table

    assert Table.decode(table.encode()) == table


def test_a_fragment_with_a_line_break_is_refused():
    file = File.build(many(3))

    with pytest.raises(ValueError, match="'pkg001' has a line break"):
        splice(file.table, file.fetch, TEXTS, [{"pkg001": b'"a":\n1'}, {}, {}], name_of_file)
    with pytest.raises(ValueError, match="'pkg001' has a line break"):
        Builder(1).add(0, "pkg001", b'"a":\n1')


# Damage


@given(st.data())
def test_a_changed_byte_anywhere_is_found(data):
    file = File.build(many(40))
    at = data.draw(st.integers(0, len(file.data) - 1))

    assert not is_whole(file.table, file.damaged_at(at).data)


def test_bytes_too_few_or_too_many_are_found():
    file = File.build(many(40))

    assert not is_whole(file.table, file.data[:-1])
    assert not is_whole(file.table, b"")
    assert not is_whole(file.table, file.data + b"\0")


def test_a_changed_byte_stops_a_change_of_its_piece_and_of_no_other():
    file = File.build(many(100))
    piece, other = file.table.sections[0][2], file.table.sections[0][4]
    start = next(file.table.places())[2]

    for at in range(start, start + piece.size, 7):
        damaged = file.damaged_at(at)

        with pytest.raises(TornDocument):
            damaged.change({piece.first: (10, 10, 10)})
        with pytest.raises(TornDocument):
            improve(damaged.table, damaged.fetch, lambda: True)
        assert damaged.change({other.first: (10, 10, 10)}).table


def test_a_file_that_is_cut_off_stops_a_change():
    file = File.build(many(100))

    with pytest.raises(TornDocument):
        File(file.table, file.data[:20], file.model).change({"pkg000": NOTHING})


# Compression


@pytest.mark.parametrize("compressor", [Treeless, RepeatedOffset])
def test_a_piece_that_cannot_be_compressed_soundly_is_kept_as_it_is(monkeypatch, compressor):
    builder = Builder(1)
    with monkeypatch.context() as patch:
        patch.setattr("zstandard.ZstdCompressor", compressor)
        builder.add(0, "a", compressor.raw)
        document = builder.finish([b"{", b"}"])

    file = File.write(document)

    assert document.plain_pieces == 1
    assert file.table.sections[0][0].level == PLAIN
    assert json.loads(file.unpacked)
    assert compressor.raw in file.data
    assert is_whole(file.table, file.data)


def test_pieces_are_exchanged_for_better_ones_with_the_same_content():
    before = File.build(many(100))

    after = improved(before)

    assert after.unpacked == before.unpacked
    assert is_whole(after.table, after.data)
    assert {piece.level for section in after.table.sections for piece in section} == {BEST_LEVEL}
    assert pieces.improvable_size(after.table) == 0


def test_a_piece_that_changed_meanwhile_is_not_exchanged():
    old = File.build(many(100))
    better = improve(old.table, old.fetch, lambda: True)
    new = old.change({"pkg050": (150, 150, 150)})

    after = File.write(exchange(new.table, better), new.data, new.model)

    assert after.content == after.expected
    levels = [piece.level for piece in after.table.sections[0]]
    assert sorted(levels) == [LEVEL] + [BEST_LEVEL] * (len(levels) - 1)


def test_an_unsound_piece_is_not_exchanged(monkeypatch):
    raw = RepeatedOffset.raw
    builder = Builder(1)
    builder.add(0, "a", raw)
    file = File.write(builder.finish([b"{", b"}"]))

    monkeypatch.setattr("zstandard.ZstdCompressor", RepeatedOffset)

    assert improve(file.table, file.fetch, lambda: True) == {}


def test_improving_stops_when_it_is_told_to():
    file = File.build(many(100))
    answers = iter([True, True, False])

    assert len(improve(file.table, file.fetch, lambda: next(answers))) == 2
