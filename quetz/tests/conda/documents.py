"""Documents in pieces, small ones, each as a file with what it should say."""

import json
import random
from dataclasses import dataclass, field
from types import MappingProxyType

import zstandard

from quetz.conda import splicing
from quetz.conda.filenames import name_of_file
from quetz.conda.pieces import (
    JOINT,
    Builder,
    Document,
    Span,
    Table,
    exchange,
    improve,
    splice,
)

TARGET, SMALLEST, LARGEST = 2_000, 500, 4_000
"""How large pieces are here, in bytes, so that few names make many."""

TEXTS = (b'{"one":{', b'},"two":{', b'},"three":[', b"]}")
NOTHING = (0, 0, 0)


@dataclass(frozen=True)
class File:
    """A document as it was written, and what each section should say of each name."""

    table: Table
    data: bytes
    model: dict[str, tuple[int, ...]] = field(default_factory=dict)
    parts: list[bytes | Span] = field(default_factory=list)

    @classmethod
    def build(cls, model):
        builder = Builder(3)
        for name, sizes in sorted(model.items()):
            for section, fragment in enumerate(fragments(name, sizes)):
                builder.add(section, name, fragment)
        return cls.write(builder.finish(TEXTS), model=model)

    @classmethod
    def write(cls, document: Document, before=b"", model=MappingProxyType({})):
        written = b"".join(
            before[part.start : part.end] if isinstance(part, Span) else part
            for part in document.parts
        )
        return cls(document.table, written, dict(model), document.parts)

    def change(self, changes, texts=TEXTS):
        said = {name: fragments(name, sizes) for name, sizes in changes.items()}
        by_section = [{name: said[name][section] for name in said} for section in range(3)]
        document = splice(self.table, self.fetch, texts, by_section, name_of_file)
        return File.write(document, self.data, self.model | changes)

    def fetch(self, start, size):
        return self.data[start : start + size]

    def damaged_at(self, at):
        data = bytearray(self.data)
        data[at] ^= 1
        return File(self.table, bytes(data), self.model)

    @property
    def unpacked(self):
        return zstandard.decompress(self.data)

    @property
    def content(self):
        """Return what each section holds, in its order."""
        decoded = json.loads(self.unpacked)
        return [list(decoded["one"].items()), list(decoded["two"].items()), decoded["three"]]

    @property
    def expected(self):
        names = sorted(self.model)
        one, two, three = (
            [member(name, self.model[name][section]) for name in names if self.model[name][section]]
            for section in range(3)
        )
        return [one, two, [filename for filename, _ in three]]

    def cut(self, section):
        """Return the fragments of each piece of a section."""
        places = list(self.table.places())[section]
        return [
            splicing.unpack(self.fetch(place, piece.size), piece.raw_size).split(JOINT)
            for piece, place in zip(self.table.sections[section], places, strict=True)
        ]


def member(name, size):
    text = random.Random(f"{name} {size}").randbytes(200).hex()
    return f"{name}-1.0-0.conda", (text * (size // len(text) + 1))[:size]


def fragments(name, sizes):
    members = [member(name, size) for size in sizes]
    texts = [f'"{filename}":"{text}"' for filename, text in members[:2]]
    texts.append(f'"{members[2][0]}"')
    return [text.encode() if size else b"" for text, size in zip(texts, sizes, strict=True)]


def many(count, size=200):
    """Say something of so many names in each section."""
    return {f"pkg{number:03}": (size, size, size) for number in range(count)}


def improved(file):
    better = improve(file.table, file.fetch, lambda: True)
    return File.write(exchange(file.table, better), file.data, file.model)
