"""Windows: which part of an ordered list a caller asks for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Select, String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

from quetz.db.engine import UNICODE_LOWER

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


class folded(GenericFunction[str]):  # noqa: N801  functions of SQL are written so
    """A text in lower case; SQLite's own ``lower`` knows the letters of ASCII only."""

    type = String()
    inherit_cache = True


@compiles(folded)
def _lower(element: folded, compiler: Any, **options: Any) -> str:
    return f"lower{compiler.function_argspec(element, **options)}"


@compiles(folded, "sqlite")
def _unicode_lower(element: folded, compiler: Any, **options: Any) -> str:
    return f"{UNICODE_LOWER}{compiler.function_argspec(element, **options)}"


def contains(column: Any, text: str) -> Any:
    """Return the condition that a column of lower-case names holds ``text``, in any case."""
    return column.contains(text.lower(), autoescape=True)
