"""Types on top of others, which a migration writes as what they are on each database."""

from typing import Any

from sqlalchemy import CHAR, JSON, Dialect, Interval, Numeric, PickleType, Text, TypeDecorator
from sqlalchemy.dialects.postgresql import ARRAY, INET, JSONB, UUID
from sqlalchemy.types import TypeEngine

from quetz.db.base import ByteOrdered
from quetz.testing.model_edits.edits import ModelEdit, column, edit, table


class Document(TypeDecorator[Any]):
    """Its ``impl`` is neither what SQLite nor what PostgreSQL has."""

    impl = CHAR(7)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        is_postgresql = dialect.name == "postgresql"
        return dialect.type_descriptor(JSONB() if is_postgresql else Text())


class Nested(TypeDecorator[Any]):
    impl = Document
    cache_ok = True


class Guid(TypeDecorator[Any]):
    impl = CHAR(32)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        is_postgresql = dialect.name == "postgresql"
        return dialect.type_descriptor(UUID() if is_postgresql else CHAR(32))


class Span(TypeDecorator[Any]):
    impl = Interval(second_precision=3)
    cache_ok = True


class Bytes(TypeDecorator[Any]):
    impl = ByteOrdered
    cache_ok = True


class Money(TypeDecorator[Any]):
    impl = Numeric(12, 3)
    cache_ok = True


def added(name: str, kind: Any, sqlite: str, postgresql: str) -> ModelEdit:
    line = "add column quetz_edited.c {} null"
    return edit(
        f"add {name}",
        table(),
        column(kind),
        sqlite=[line.format(sqlite)],
        postgresql=[line.format(postgresql)],
    )


OWN_TYPES = [
    added("a type that is another one on each database", Document, "TEXT", "JSONB"),
    added("a type on top of a type on top", Nested, "TEXT", "JSONB"),
    added("a type with a variant", Document().with_variant(JSON(), "sqlite"), "JSON", "JSONB"),
    added("a type as a variant", Text().with_variant(Document(), "postgresql"), "TEXT", "JSONB"),
    added("ids", Guid, "CHAR(32)", "UUID"),
    added("spans of time", Interval, "DATETIME", "INTERVAL"),
    added("exact spans of time", Span, "DATETIME", "INTERVAL (3)"),
    added("spans as times", Interval(native=False), "DATETIME", "TIMESTAMP WITHOUT TIME ZONE"),
    added("texts by bytes", Bytes, "VARCHAR", 'VARCHAR COLLATE "C"'),
    added("amounts", Money, "NUMERIC(12, 3)", "NUMERIC(12, 3)"),
    added("pickles", PickleType, "BLOB", "BYTEA"),
    added("lists", JSON().with_variant(ARRAY(Text), "postgresql"), "JSON", "TEXT[]"),
    added("addresses", Text().with_variant(INET(), "postgresql"), "TEXT", "INET"),
    edit(
        "drop a type that is another one on each database",
        column(Document),
        table(),
        "drop column quetz_edited.c",
    ),
    edit("leave types on top as they are", column(Nested), column(Document)),
    edit(
        "turn text into a type on top",
        column(Text),
        column(Text().with_variant(Bytes, "postgresql")),
        sqlite=[],
        postgresql=['change type of quetz_edited.c from TEXT to VARCHAR COLLATE "C"'],
    ),
]
