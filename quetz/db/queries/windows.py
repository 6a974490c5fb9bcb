"""Windows: which part of an ordered list a caller asks for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Select

Query = TypeVar("Query", bound=Select[*tuple[Any, ...]])
Item = TypeVar("Item")


@dataclass(frozen=True)
class Window:
    """``limit`` rows after the first ``skip``; a limit of None is all of them."""

    skip: int = 0
    limit: int | None = None

    def of(self, query: Query) -> Query:
        return query.offset(self.skip or None).limit(self.limit)

    def cut(self, items: Sequence[Item]) -> Sequence[Item]:
        end = None if self.limit is None else self.skip + self.limit
        return items[self.skip : end]


EVERYTHING = Window()


def batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Cut ``items`` so that each part fits into one statement of SQLite: 32,766 variables."""
    for start in range(0, len(items), 10_000):
        yield items[start : start + 10_000]


def contains(column: Any, text: str) -> Any:
    """Return the condition that a column of lower-case names holds ``text``, in any case."""
    return column.contains(text.lower(), autoescape=True)
