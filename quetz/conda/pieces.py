"""Documents in pieces: large JSON indexes of which a change touches only a small part.

A document is a sequence of sections, each a list of *fragments* in the order of their package
names. A fragment is what the document says of one name: the text of one or more members of a
JSON object or array, without a line break; fragments are joined by a comma and a line break.
Sections are cut between fragments into pieces, each compressed by itself and spliced into one
zstd frame (``quetz.conda.splicing``). A table says where the pieces lie.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

import msgspec

from quetz.conda import splicing
from quetz.conda.splicing import SPACES, BadPiece

TARGET: Final = 1 << 18
"""How many bytes a piece has before compression, about."""
LARGEST: Final = 2 * TARGET
SMALLEST: Final = TARGET // 4
LEVEL: Final = 1
BEST_LEVEL: Final = 19
PLAIN: Final = 0
"""The level of a piece that is kept as it is, since it could not be compressed soundly."""

JOINT: Final = b",\n"
_BRIDGE: Final = splicing.bridge(JOINT)

NameOf = Callable[[str], str]
"""Tells the package name from the first key or text of a fragment."""


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """A piece: its first name, its sizes in bytes, and the start of its blocks' SHA-256."""

    first: str
    size: int
    raw_size: int
    digest: bytes
    level: int


class Table(msgspec.Struct, frozen=True, array_like=True):
    """What a document consists of: the texts before, between and behind its sections."""

    texts: tuple[bytes, ...]
    sections: tuple[tuple[Piece, ...], ...]

    @classmethod
    def decode(cls, data: bytes) -> "Table":
        return msgspec.msgpack.decode(data, type=cls)

    def encode(self) -> bytes:
        return msgspec.msgpack.encode(self)

    @property
    def raw_size(self) -> int:
        sizes = [sum(piece.raw_size for piece in section) for section in self.sections]
        texts = [len(text) + len(SPACES) for text in self.texts[:-1]]
        joints = (len(JOINT) + len(SPACES)) * sum(max(len(s) - 1, 0) for s in self.sections)
        return sum(sizes) + sum(texts) + joints + len(self.texts[-1])

    def places(self) -> Iterator[list[int]]:
        """Yield for each section where in the file its pieces begin."""
        at = len(splicing.start(0))
        for text, section in zip(self.texts, self.sections, strict=False):
            at += len(splicing.bridge(text))
            places = []
            for number, piece in enumerate(section):
                at += len(_BRIDGE) if number else 0
                places.append(at)
                at += piece.size
            yield places


@dataclass(frozen=True)
class Span:
    """Bytes ``start`` to ``end`` of the file before."""

    start: int
    end: int


Part = bytes | Span
Fetch = Callable[[int, int], bytes]
"""Returns some bytes of the file before: where they begin, and how many."""


@dataclass(frozen=True)
class Document:
    """A new file: its table, and the parts it consists of."""

    table: Table
    parts: list[Part]

    @property
    def plain_pieces(self) -> int:
        """How many pieces are not compressed, since that could not be done soundly."""
        return sum(piece.level == PLAIN for section in self.table.sections for piece in section)


class TornDocument(Exception):
    """The file before is not what its table says: build the document anew."""


@dataclass(frozen=True)
class _Made:
    piece: Piece
    body: Part


class Builder:
    """Builds a document anew from its fragments, which come in the order of their names."""

    def __init__(self, sections: int) -> None:
        self._made: list[list[_Made]] = [[] for _ in range(sections)]
        self._open: list[_Run] = [_Run() for _ in range(sections)]

    def add(self, section: int, name: str, fragment: bytes) -> None:
        """Add a fragment behind those of its section; an empty one is none."""
        if not fragment:
            return
        run = self._open[section]
        run.add(name, fragment)
        if run.size >= TARGET:
            self._close(section)

    def finish(self, texts: Sequence[bytes]) -> Document:
        """Return the document; ``texts`` are one more than there are sections."""
        for section, run in enumerate(self._open):
            if run.fragments:
                self._close(section)
        return _assemble(texts, self._made)

    def _close(self, section: int) -> None:
        self._made[section].append(_make(self._open[section]))
        self._open[section] = _Run()


@dataclass
class _Run:
    """Fragments of consecutive names, and how many bytes they have together."""

    fragments: list[tuple[str, bytes]] = field(default_factory=list)
    size: int = 0

    def add(self, name: str, fragment: bytes) -> None:
        if b"\n" in fragment:
            raise ValueError(f"the fragment of '{name}' has a line break")
        self.size += len(fragment) + (len(JOINT) if self.fragments else 0)
        self.fragments.append((name, fragment))


def splice(
    old: Table,
    fetch: Fetch,
    texts: Sequence[bytes],
    changes: Sequence[Mapping[str, bytes]],
    name_of: NameOf,
) -> Document:
    """Change the fragments of some names, for each section a mapping; an empty one is removed.

    Raises:
        TornDocument: a piece that has to be changed is not what the table says.
    """
    sections = [
        _splice_section(_Section(pieces, places, fetch, name_of), changed)
        for pieces, places, changed in zip(old.sections, old.places(), changes, strict=True)
    ]
    return _assemble(texts, sections)


def improvable_size(table: Table) -> int:
    """Return how many bytes of the file are pieces that could be compressed better."""
    return sum(p.size for section in table.sections for p in section if p.level != BEST_LEVEL)


def improve(table: Table, fetch: Fetch, go_on: Callable[[], bool]) -> dict[bytes, bytes]:
    """Compress pieces as well as can be, while ``go_on()``; return the new ones by digest.

    Raises:
        TornDocument: as ``splice``.
    """
    found: dict[bytes, bytes] = {}
    for pieces, places in zip(table.sections, table.places(), strict=True):
        for piece, place in zip(pieces, places, strict=True):
            if not go_on():
                return found
            if piece.level == BEST_LEVEL:
                continue
            packed, level = _pack(unpack_piece(piece, fetch(place, piece.size)), BEST_LEVEL)
            if level == BEST_LEVEL:
                found[piece.digest] = packed
    return found


def exchange(old: Table, better: Mapping[bytes, bytes]) -> Document:
    """Put what ``improve`` found in the place of what it was made of."""
    sections = []
    for pieces, places in zip(old.sections, old.places(), strict=True):
        made = []
        for piece, place in zip(pieces, places, strict=True):
            packed = better.get(piece.digest)
            if packed is None:
                made.append(_Made(piece, Span(place, place + piece.size)))
            else:
                new = Piece(piece.first, len(packed), piece.raw_size, _digest(packed), BEST_LEVEL)
                made.append(_Made(new, packed))
        sections.append(made)
    return _assemble(old.texts, sections)


def is_whole(table: Table, data: bytes) -> bool:
    """Tell whether a file is what its table says."""
    sections = []
    for pieces, places in zip(table.sections, table.places(), strict=True):
        bodies = [data[at : at + piece.size] for piece, at in zip(pieces, places, strict=True)]
        if [_digest(body) for body in bodies] != [piece.digest for piece in pieces]:
            return False
        sections.append([_Made(*made) for made in zip(pieces, bodies, strict=True)])
    expected = _assemble(table.texts, sections).parts
    return b"".join(part for part in expected if isinstance(part, bytes)) == data


def fragments(table: Table, fetch: Fetch, name_of: NameOf) -> list[Iterator[tuple[str, bytes]]]:
    """Return for each section what yields its fragments with their names, a piece at a time.

    Raises:
        TornDocument: while it is read, a piece is not what the table says.
    """
    return [
        _Section(pieces, places, fetch, name_of).read_all()
        for pieces, places in zip(table.sections, table.places(), strict=True)
    ]


def contents(table: Table, fetch: Fetch) -> Iterator[bytes]:
    """Yield what the whole file unpacks to, a piece at a time.

    Raises:
        TornDocument: a piece is not what the table says.
    """
    for text, pieces, places in zip(table.texts, table.sections, table.places(), strict=False):
        yield text + SPACES
        for number, (piece, place) in enumerate(zip(pieces, places, strict=True)):
            if number:
                yield JOINT + SPACES
            yield unpack_piece(piece, fetch(place, piece.size))
    yield table.texts[-1]


# Sections


@dataclass(frozen=True)
class _Section:
    pieces: Sequence[Piece]
    places: Sequence[int]
    fetch: Fetch
    name_of: NameOf

    def keep(self, number: int) -> _Made:
        piece, place = self.pieces[number], self.places[number]
        return _Made(piece, Span(place, place + piece.size))

    def read(self, number: int) -> dict[str, bytes]:
        """Return the fragments of a piece by their names."""
        piece = self.pieces[number]
        raw = unpack_piece(piece, self.fetch(self.places[number], piece.size))
        return {self.name_of(_first_text(part)): part for part in raw.split(JOINT)}

    def read_all(self) -> Iterator[tuple[str, bytes]]:
        for number in range(len(self.pieces)):
            yield from self.read(number).items()


def _first_text(fragment: bytes) -> str:
    return fragment[1 : fragment.index(b'"', 1)].decode()


def _splice_section(section: _Section, changes: Mapping[str, bytes]) -> list[_Made]:
    firsts = [piece.first for piece in section.pieces]
    by_piece: dict[int, dict[str, bytes]] = {}
    for name, fragment in changes.items():
        number = max(bisect_right(firsts, name) - 1, 0)
        by_piece.setdefault(number, {})[name] = fragment
    if not section.pieces:
        return _cut(_changed({}, by_piece.get(0, {})))
    made: list[_Made] = []
    small = _Run()  # what is left of pieces that have become too small to stand alone
    last = len(firsts) - 1
    for number in range(len(firsts)):
        said = by_piece.get(number, {})
        fragments = section.read(number) if said or small.fragments else {}
        new = {name: part for name, part in said.items() if part != fragments.get(name, b"")}
        if not new and not small.fragments:
            made.append(section.keep(number))
            continue
        run = _changed(fragments, new, small)
        small = _Run()
        if run.size < SMALLEST and number < last:
            small = run
        elif 0 < run.size < SMALLEST and made and isinstance(made[-1].body, Span):
            before = section.places.index(made[-1].body.start)
            made[-1:] = _cut(_changed(section.read(before), dict(run.fragments)))
        else:
            made += _cut(run)
    return made


def _changed(
    fragments: dict[str, bytes], changes: Mapping[str, bytes], before: _Run | None = None
) -> _Run:
    """Return the fragments after the changes, behind those of ``before``."""
    run = before or _Run()
    merged = {**fragments, **changes}
    for name in sorted(merged):
        if merged[name]:
            run.add(name, merged[name])
    return run


def _cut(run: _Run) -> list[_Made]:
    """Make pieces of about the same size."""
    if run.size <= LARGEST:
        return [_make(run)] if run.fragments else []
    made, some, rest = [], _Run(), run.size
    for name, fragment in run.fragments:
        share = rest / -(-rest // TARGET)
        if some.size and some.size + len(fragment) / 2 > share:
            made.append(_make(some))
            some, rest = _Run(), rest - some.size
        some.add(name, fragment)
    return [*made, _make(some)]


def _make(run: _Run) -> _Made:
    raw = JOINT.join([fragment for _, fragment in run.fragments])
    packed, level = _pack(raw, LEVEL)
    piece = Piece(run.fragments[0][0], len(packed), len(raw), _digest(packed), level)
    return _Made(piece, packed)


def _pack(raw: bytes, level: int) -> tuple[bytes, int]:
    try:
        return splicing.pack(raw, level), level
    except BadPiece:
        return splicing.plain(raw), PLAIN


def unpack_piece(piece: Piece, packed: bytes) -> bytes:
    if _digest(packed) != piece.digest:
        raise TornDocument
    try:
        return splicing.unpack(packed, piece.raw_size)
    except BadPiece:
        raise TornDocument from None


def _digest(packed: bytes) -> bytes:
    return sha256(packed).digest()[:16]


def _assemble(texts: Sequence[bytes], sections: Sequence[Sequence[_Made]]) -> Document:
    table = Table(tuple(texts), tuple(tuple(made.piece for made in s) for s in sections))
    parts: list[Part] = [splicing.start(table.raw_size)]
    for text, section in zip(texts, sections, strict=False):
        parts.append(splicing.bridge(text))
        for number, made in enumerate(section):
            _append(parts, made.body, after_piece=number > 0)
    parts.append(splicing.plain(texts[-1]) + splicing.END)
    return Document(table, parts)


def _append(parts: list[Part], body: Part, *, after_piece: bool) -> None:
    last = parts[-1]
    if after_piece:
        if (
            isinstance(last, Span)
            and isinstance(body, Span)
            and last.end + len(_BRIDGE) == body.start
        ):
            parts[-1] = Span(last.start, body.end)  # with the bridge that lies between them
            return
        parts.append(_BRIDGE)
    parts.append(body)
