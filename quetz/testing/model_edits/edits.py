"""What an edit of models is, and the tables that edits are of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Enum,
    ForeignKey,
    MetaData,
    String,
    Table,
    TypeDecorator,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.schema import SchemaItem

from quetz.db.base import NAMING_CONVENTION, RowId

OWNER = "quetz-edited"
TABLE = "quetz_edited"
JSON_OR_JSONB = JSON().with_variant(JSONB, "postgresql")


@dataclass(frozen=True)
class ModelEdit:
    """``expected`` are the lines of ``describe``; a database may have lines of its own."""

    name: str
    before: Sequence[Table]
    after: Sequence[Table]
    expected: Sequence[str]
    on: dict[str, Sequence[str]]

    def expected_on(self, dialect: str) -> list[str]:
        return sorted(self.on.get(dialect, self.expected))


class Upper(TypeDecorator[str]):
    """A type of a plugin."""

    impl = String(20)
    cache_ok = True


def table(*items: SchemaItem, name: str = TABLE, **options: Any) -> list[Table]:
    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    return [Table(name, metadata, Column("id", RowId, primary_key=True), *items, **options)]


def column(kind: Any, *items: SchemaItem, **options: Any) -> list[Table]:
    """Return the table with a column ``c``, which may be null unless the options say otherwise."""
    return table(Column("c", kind, *items, **options))


def documented(text: str) -> list[Table]:
    """Return the table as a mapped class with that docstring and a relationship."""

    class Models(DeclarativeBase):
        metadata = MetaData(naming_convention=NAMING_CONVENTION)

    class Edited(Models):
        __doc__ = text
        __tablename__ = TABLE
        id: Mapped[int] = mapped_column(RowId, primary_key=True)
        c: Mapped[int | None] = mapped_column(ForeignKey(f"{TABLE}.id"), doc=text, info={"x": text})
        if text:
            other: Mapped["Edited | None"] = relationship(remote_side="Edited.id")

    return [Edited.__table__]  # type: ignore[list-item]  # declared as FromClause


def edit(
    name: str,
    before: Sequence[Table],
    after: Sequence[Table],
    *expected: str,
    **on: Sequence[str],
) -> ModelEdit:
    return ModelEdit(name, before, after, expected, on)


def kinds(name: str, old: Any, new: Any, old_text: str, new_text: str) -> ModelEdit:
    """Return a change of a column's type."""
    line = f"change type of {TABLE}.c from {old_text} to {new_text}"
    return edit(name, column(old), column(new), line)


POSITIVE = "ck_quetz_edited_positive"


def kind_of(*names: str, length: int = 16) -> Enum:
    return Enum(*names, name="kind", native_enum=False, create_constraint=True, length=length)
