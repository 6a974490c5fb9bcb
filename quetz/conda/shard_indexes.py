"""Shard indexes in pieces: a change encodes and compresses only the pieces of its names.

Their blocks stand one behind the other in one zstd frame, which unpacks to what
``encode_shard_index`` returns.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from quetz.conda import splicing
from quetz.conda.shards import SHARD_INDEX_END, encode_entries, start_shard_index

TARGET: Final = 1_000
"""How many names a piece has, about."""
LARGEST: Final = 2 * TARGET
SMALLEST: Final = TARGET // 4
LEVEL: Final = 1


@dataclass(frozen=True)
class Packed:
    """Compressed blocks, and how many bytes they unpack to.

    ``is_plain``: they are not compressed, since that could not be done soundly.
    """

    blocks: bytes
    raw_size: int
    is_plain: bool


@dataclass(frozen=True, eq=False)
class Piece:
    """Consecutive names and the digests of their shards, in order; packed once, when needed."""

    shards: dict[str, bytes]

    @property
    def first(self) -> str:
        return next(iter(self.shards))

    @cached_property
    def digests(self) -> frozenset[bytes]:
        return frozenset(self.shards.values())

    @cached_property
    def packed(self) -> Packed:
        raw = encode_entries(self.shards)
        try:
            return Packed(splicing.pack_alone(raw, LEVEL), len(raw), is_plain=False)
        except splicing.BadPiece:
            return Packed(splicing.plain(raw), len(raw), is_plain=True)

    def change(self, changes: Mapping[str, bytes | None]) -> "Piece":
        merged = {**self.shards, **changes}
        names = sorted(merged) if changes.keys() - self.shards.keys() else merged
        return Piece({name: digest for name in names if (digest := merged[name]) is not None})

    def cut(self) -> Iterator["Piece"]:
        """Yield pieces of about the same size, or this one unless it is too large."""
        if len(self.shards) <= LARGEST:
            yield self
            return
        entries = list(self.shards.items())
        parts = -(-len(entries) // TARGET)
        for part in range(parts):
            start, end = (len(entries) * bound // parts for bound in (part, part + 1))
            yield Piece(dict(entries[start:end]))


@dataclass(frozen=True)
class ShardIndex:
    """The digest of each name's shard, in pieces in the order of the names."""

    pieces: tuple[Piece, ...] = ()

    @classmethod
    def of(cls, shards: Mapping[str, bytes]) -> "ShardIndex":
        """Cut what a published index says into pieces."""
        return cls(tuple(Piece(dict(sorted(shards.items()))).cut()) if shards else ())

    def __len__(self) -> int:
        return sum(len(piece.shards) for piece in self.pieces)

    def names(self) -> Iterator[str]:
        for piece in self.pieces:
            yield from piece.shards

    def digests(self) -> Iterator[bytes]:
        for piece in self.pieces:
            yield from piece.shards.values()

    def find(self, name: str) -> bytes | None:
        return self.pieces[self._place(name)].shards.get(name) if self.pieces else None

    def has_shard(self, digest: bytes) -> bool:
        """Tell whether any name has this shard."""
        return any(digest in piece.digests for piece in self.pieces)

    def change(self, changes: Mapping[str, bytes | None]) -> "ShardIndex":
        """Return the index with other digests of some names; of None, without the name.

        Pieces are shared with this one, apart from those of the names.
        """
        by_piece: dict[int, dict[str, bytes | None]] = defaultdict(dict)
        for name, digest in changes.items():
            by_piece[self._place(name)][name] = digest
        made: list[Piece] = []
        for number, piece in enumerate(self.pieces or [Piece({})]):
            new = piece.change(by_piece[number]) if number in by_piece else piece
            if not new.shards:
                continue
            if made and min(len(made[-1].shards), len(new.shards)) < SMALLEST:
                new = Piece({**made.pop().shards, **new.shards})
            made.append(new)
        return ShardIndex(tuple(part for piece in made for part in piece.cut()))

    def encode(self, subdir: str, created_at: int) -> tuple[bytes, int]:
        """Return the compressed index, and how many bytes it unpacks to.

        The arguments are those of ``encode_shard_index``.
        """
        head = start_shard_index(subdir, created_at, len(self))
        packed = [piece.packed for piece in self.pieces]
        raw_size = len(head) + sum(piece.raw_size for piece in packed) + len(SHARD_INDEX_END)
        before = splicing.start(raw_size) + splicing.plain(head)
        behind = splicing.plain(SHARD_INDEX_END) + splicing.END
        return b"".join((before, *[piece.blocks for piece in packed], behind)), raw_size

    def _place(self, name: str) -> int:
        """Return the number of the piece that has the name, or would have it."""
        return max(bisect_right(self.pieces, name, key=lambda piece: piece.first) - 1, 0)
