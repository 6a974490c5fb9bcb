"""Edits of models, and what a migration has to do for each: the measure of autogeneration.

An edit is of the tables of a plugin ``quetz-edited``; ``users`` of the core and ``quetz_other`` of
another plugin stand beside them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Enum,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
    func,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.schema import SchemaItem
from sqlalchemy.sql import false

from quetz.db.base import NAMING_CONVENTION, ByteOrdered, Milliseconds, RowId, now_ms

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


NUMBER = Column("n", Integer)
POSITIVE = "ck_quetz_edited_positive"

TABLES = [
    edit("add a table", [], table(), "add table quetz_edited"),
    edit(
        "add a table with indexes and constraints",
        [],
        table(Column("c", Text, index=True), UniqueConstraint("c")),
        "add table quetz_edited",
        "add index ix_quetz_edited_c of quetz_edited (c)",
    ),
    edit("drop a table", table(), [], "drop table quetz_edited"),
    edit(
        "drop a table with an index",
        table(Column("c", Text, index=True)),
        [],
        "drop index ix_quetz_edited_c of quetz_edited",
        "drop table quetz_edited",
    ),
    edit(
        "rename a table",
        table(),
        table(name="quetz_edited_anew"),
        "add table quetz_edited_anew",
        "drop table quetz_edited",
    ),
    edit(
        "add a table that refers to another new one",
        [],
        [*table(), *table(Column("p", ForeignKey("quetz_edited.id")), name="quetz_edited_b")],
        "add table quetz_edited",
        "add table quetz_edited_b",
    ),
    edit(
        "drop tables that refer to each other",
        [*table(), *table(Column("p", ForeignKey("quetz_edited.id")), name="quetz_edited_b")],
        [],
        "drop table quetz_edited",
        "drop table quetz_edited_b",
    ),
]

COLUMNS = [
    edit(
        "add a column that may be null",
        table(),
        column(Text),
        "add column quetz_edited.c TEXT null",
    ),
    edit(
        "add a column with a default",
        table(),
        column(Integer, server_default="7"),
        "add column quetz_edited.c INTEGER null",
    ),
    edit(
        "add a column that must not be null, with a text as default",
        table(),
        column(String(9), nullable=False, server_default="it's"),
        "add column quetz_edited.c VARCHAR(9) not null",
    ),
    edit(
        "add a flag that is false",
        table(),
        column(Boolean, nullable=False, server_default=false()),
        "add column quetz_edited.c BOOLEAN not null",
    ),
    edit(
        "add a time that is now",
        table(),
        column(DateTime(timezone=True), nullable=False, server_default=func.now()),
        sqlite=["add column quetz_edited.c DATETIME not null"],
        postgresql=["add column quetz_edited.c TIMESTAMP WITH TIME ZONE not null"],
    ),
    edit(
        "add a column by bytes",
        table(),
        column(ByteOrdered),
        sqlite=["add column quetz_edited.c VARCHAR null"],
        postgresql=['add column quetz_edited.c VARCHAR COLLATE "C" null'],
    ),
    edit(
        "add a column of JSON",
        table(),
        column(JSON_OR_JSONB, nullable=False, server_default="{}"),
        sqlite=["add column quetz_edited.c JSON not null"],
        postgresql=["add column quetz_edited.c JSONB not null"],
    ),
    edit(
        "add a column of a plugin's own type",
        table(),
        column(Upper),
        "add column quetz_edited.c VARCHAR(20) null",
    ),
    edit(
        "add an indexed column",
        table(),
        column(Integer, index=True),
        "add column quetz_edited.c INTEGER null",
        "add index ix_quetz_edited_c of quetz_edited (c)",
    ),
    edit("drop a column", column(Text), table(), "drop column quetz_edited.c"),
    edit(
        "drop a column that must not be null",
        column(BigInteger, nullable=False),
        table(),
        "drop column quetz_edited.c",
    ),
    edit(
        "drop a flag with a default",
        column(Boolean, nullable=False, server_default=true()),
        table(),
        "drop column quetz_edited.c",
    ),
    edit(
        "drop a time that is now",
        column(DateTime(timezone=True), server_default=func.now()),
        table(),
        "drop column quetz_edited.c",
    ),
    edit(
        "drop a text with a default",
        column(String(9), server_default="it's"),
        table(),
        "drop column quetz_edited.c",
    ),
    edit("drop a column of JSON", column(JSON_OR_JSONB), table(), "drop column quetz_edited.c"),
    edit("drop a column by bytes", column(ByteOrdered), table(), "drop column quetz_edited.c"),
    edit(
        "drop an indexed column",
        column(Integer, index=True),
        table(),
        "drop index ix_quetz_edited_c of quetz_edited",
        "drop column quetz_edited.c",
    ),
    edit(
        "rename a column",
        table(Column("a", Text)),
        table(Column("b", Text)),
        "add column quetz_edited.b TEXT null",
        "drop column quetz_edited.a",
    ),
]

TYPES = [
    kinds("lengthen a text", String(16), String(32), "VARCHAR(16)", "VARCHAR(32)"),
    kinds("shorten a text", String(32), String(16), "VARCHAR(32)", "VARCHAR(16)"),
    kinds("let a text be of any length", String(16), Text, "VARCHAR(16)", "TEXT"),
    kinds("let a number be big", Integer, BigInteger, "INTEGER", "BIGINT"),
    kinds("let a small number be usual", SmallInteger, Integer, "SMALLINT", "INTEGER"),
    kinds("make a number a text", Integer, String(20), "INTEGER", "VARCHAR(20)"),
    kinds("make a flag a number", Boolean, Integer, "BOOLEAN", "INTEGER"),
    kinds("make a number exact", Integer, Numeric(10, 2), "INTEGER", "NUMERIC(10, 2)"),
    kinds(
        "make an exact number more exact",
        Numeric(10, 2),
        Numeric(12, 4),
        "NUMERIC(10, 2)",
        "NUMERIC(12, 4)",
    ),
    edit(
        "order a text by bytes",
        column(String),
        column(ByteOrdered),
        sqlite=[],
        postgresql=['change type of quetz_edited.c from VARCHAR to VARCHAR COLLATE "C"'],
    ),
    edit(
        "turn JSON into JSONB",
        column(JSON),
        column(JSON_OR_JSONB),
        sqlite=[],
        postgresql=["change type of quetz_edited.c from JSON to JSONB"],
    ),
    edit(
        "give a time its zone",
        column(DateTime),
        column(DateTime(timezone=True)),
        sqlite=[],
        postgresql=[
            "change type of quetz_edited.c from TIMESTAMP WITHOUT TIME ZONE "
            "to TIMESTAMP WITH TIME ZONE"
        ],
    ),
]

NULLS_AND_DEFAULTS = [
    edit(
        "let a column be null",
        column(Text, nullable=False),
        column(Text),
        "let quetz_edited.c be null",
    ),
    edit(
        "let a column be null no more",
        column(Text),
        column(Text, nullable=False),
        "let quetz_edited.c be not null",
    ),
    edit(
        "give a default",
        column(Integer),
        column(Integer, server_default="7"),
        "change default of quetz_edited.c from none to 7",
    ),
    edit(
        "change a default",
        column(Integer, server_default="7"),
        column(Integer, server_default="8"),
        sqlite=["change default of quetz_edited.c from '7' to 8"],
        postgresql=["change default of quetz_edited.c from 7 to 8"],
    ),
    edit(
        "take a default away",
        column(Integer, server_default=text("7")),
        column(Integer),
        "change default of quetz_edited.c from 7 to none",
    ),
    edit(
        "turn a flag's default",
        column(Boolean, server_default=true()),
        column(Boolean, server_default=false()),
        sqlite=["change default of quetz_edited.c from 1 to 0"],
        postgresql=["change default of quetz_edited.c from true to false"],
    ),
    edit(
        "let a time be now",
        column(DateTime(timezone=True)),
        column(DateTime(timezone=True), server_default=func.now()),
        sqlite=["change default of quetz_edited.c from none to CURRENT_TIMESTAMP"],
        postgresql=["change default of quetz_edited.c from none to now()"],
    ),
    edit(
        "change null and default at once",
        column(String(9)),
        column(String(9), nullable=False, server_default="x"),
        "let quetz_edited.c be not null",
        "change default of quetz_edited.c from none to x",
    ),
]

INDEXES = [
    edit(
        "add an index",
        column(Text),
        column(Text, index=True),
        "add index ix_quetz_edited_c of quetz_edited (c)",
    ),
    edit(
        "drop an index",
        column(Text, index=True),
        column(Text),
        "drop index ix_quetz_edited_c of quetz_edited",
    ),
    edit(
        "make an index unique",
        column(Text, index=True),
        column(Text, index=True, unique=True),
        "drop index ix_quetz_edited_c of quetz_edited",
        "add unique index ix_quetz_edited_c of quetz_edited (c)",
    ),
    edit(
        "add an index of two columns",
        table(Column("a", Text), Column("b", Text)),
        table(Column("a", Text), Column("b", Text), Index(None, "a", "b")),
        "add index ix_quetz_edited_a_b of quetz_edited (a, b)",
    ),
    edit(
        "add a column to an index",
        table(Column("a", Text), Column("b", Text), Index("ix_quetz_edited_x", "a")),
        table(Column("a", Text), Column("b", Text), Index("ix_quetz_edited_x", "a", "b")),
        "drop index ix_quetz_edited_x of quetz_edited",
        "add index ix_quetz_edited_x of quetz_edited (a, b)",
    ),
    edit(
        "rename an index",
        table(Column("a", Text), Index("ix_quetz_edited_x", "a")),
        table(Column("a", Text), Index("ix_quetz_edited_y", "a")),
        "drop index ix_quetz_edited_x of quetz_edited",
        "add index ix_quetz_edited_y of quetz_edited (a)",
    ),
]

CONSTRAINTS = [
    edit(
        "let a column be unique",
        column(Text),
        column(Text, unique=True),
        "add unique uq_quetz_edited_c of quetz_edited (c)",
    ),
    edit(
        "let a column be unique no more",
        column(Text, unique=True),
        column(Text),
        "drop unique uq_quetz_edited_c of quetz_edited",
    ),
    edit(
        "let two columns be unique together",
        table(Column("a", Text), Column("b", Text)),
        table(Column("a", Text), Column("b", Text), UniqueConstraint("a", "b")),
        "add unique uq_quetz_edited_a_b of quetz_edited (a, b)",
    ),
    edit(
        "let a key be unique besides",
        table(),
        table(UniqueConstraint("id")),
    ),
    edit(
        "add a check",
        column(Integer),
        column(Integer, CheckConstraint("c > 0", name="positive")),
        f"add check {POSITIVE} of quetz_edited: c > 0",
    ),
    edit(
        "drop a check",
        column(Integer, CheckConstraint("c > 0", name="positive")),
        column(Integer),
        f"drop check {POSITIVE} of quetz_edited",
    ),
    edit(
        "rename a check",
        column(Integer, CheckConstraint("c > 0", name="positive")),
        column(Integer, CheckConstraint("c > 0", name="large")),
        f"drop check {POSITIVE} of quetz_edited",
        "add check ck_quetz_edited_large of quetz_edited: c > 0",
    ),
    edit(
        "change what a check says",
        column(Integer, CheckConstraint("c > 0", name="positive")),
        column(Integer, CheckConstraint("c >= 0", name="positive")),
        sqlite=[
            f"drop check {POSITIVE} of quetz_edited",
            f"add check {POSITIVE} of quetz_edited: c >= 0",
        ],
        postgresql=[],
    ),
]

REFERENCES = [
    edit(
        "add a reference to the core",
        table(),
        column(BigInteger, ForeignKey("users.id", ondelete="CASCADE")),
        "add column quetz_edited.c BIGINT null",
        "add foreign key fk_quetz_edited_c_users of quetz_edited (c) "
        "to users (id) on delete CASCADE",
    ),
    edit(
        "let a column refer to another plugin",
        column(BigInteger),
        column(BigInteger, ForeignKey("quetz_other.id")),
        "add foreign key fk_quetz_edited_c_quetz_other of quetz_edited (c) to quetz_other (id)",
    ),
    edit(
        "drop a reference",
        column(BigInteger, ForeignKey("users.id")),
        column(BigInteger),
        "drop foreign key fk_quetz_edited_c_users of quetz_edited",
    ),
    edit(
        "change what becomes of those that refer",
        column(BigInteger, ForeignKey("users.id", ondelete="CASCADE")),
        column(BigInteger, ForeignKey("users.id", ondelete="SET NULL")),
        "drop foreign key fk_quetz_edited_c_users of quetz_edited",
        "add foreign key fk_quetz_edited_c_users of quetz_edited (c) "
        "to users (id) on delete SET NULL",
    ),
    edit(
        "refer to another table",
        column(BigInteger, ForeignKey("users.id")),
        column(BigInteger, ForeignKey("quetz_other.id")),
        "drop foreign key fk_quetz_edited_c_users of quetz_edited",
        "add foreign key fk_quetz_edited_c_quetz_other of quetz_edited (c) to quetz_other (id)",
    ),
    edit(
        "refer to the table itself",
        column(BigInteger),
        column(BigInteger, ForeignKey("quetz_edited.id")),
        "add foreign key fk_quetz_edited_c_quetz_edited of quetz_edited (c) to quetz_edited (id)",
    ),
    edit(
        "refer by two columns",
        table(Column("a", BigInteger), Column("b", BigInteger)),
        table(
            Column("a", BigInteger),
            Column("b", BigInteger),
            ForeignKeyConstraint(["a", "b"], ["quetz_other.id", "quetz_other.part"]),
        ),
        "add foreign key fk_quetz_edited_a_b_quetz_other of quetz_edited (a, b) "
        "to quetz_other (id, part)",
    ),
    edit(
        "add a table that refers to the core",
        [],
        column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
        "add table quetz_edited",
    ),
]


def kind_of(*names: str, length: int = 16) -> Enum:
    return Enum(*names, name="kind", native_enum=False, create_constraint=True, length=length)


ENUMS = [
    edit(
        "add an enumeration",
        table(),
        column(kind_of("a", "b"), nullable=False, server_default="a"),
        "add column quetz_edited.c VARCHAR(16) not null",
        "add check ck_quetz_edited_kind of quetz_edited: c IN ('a', 'b')",
    ),
    edit(
        "add a table with an enumeration",
        [],
        column(kind_of("a", "b")),
        "add table quetz_edited",
    ),
    edit(
        "drop a table with an enumeration",
        column(kind_of("a", "b")),
        [],
        "drop table quetz_edited",
    ),
    edit(
        "drop an enumeration",
        column(kind_of("a", "b")),
        table(),
        "drop check ck_quetz_edited_kind of quetz_edited",
        "drop column quetz_edited.c",
    ),
    edit(
        "let an enumeration have one more",
        column(kind_of("a", "b")),
        column(kind_of("a", "b", "c")),
        sqlite=[
            "drop check ck_quetz_edited_kind of quetz_edited",
            "add check ck_quetz_edited_kind of quetz_edited: c IN ('a', 'b', 'c')",
        ],
        postgresql=[],
    ),
    edit(
        "let an enumeration have longer names",
        column(kind_of("a", "b")),
        column(kind_of("a", "b", length=32)),
        "change type of quetz_edited.c from VARCHAR(16) to VARCHAR(32)",
    ),
]

COMMENTS = [
    edit(
        "comment a column",
        column(Text),
        column(Text, comment="new"),
        sqlite=[],
        postgresql=["change comment of quetz_edited.c from None to 'new'"],
    ),
    edit(
        "comment a table",
        table(),
        table(comment="new"),
        sqlite=[],
        postgresql=["change comment of quetz_edited to 'new'"],
    ),
]

SEVERAL = [
    edit(
        "change much at once",
        table(Column("a", String(9), index=True), Column("b", Integer), Column("gone", Text)),
        table(
            Column("a", String(20), nullable=False, server_default="x"),
            Column("b", BigInteger, CheckConstraint("b > 0", name="positive")),
            Column("new", Text, unique=True),
        ),
        "drop index ix_quetz_edited_a of quetz_edited",
        "change type of quetz_edited.a from VARCHAR(9) to VARCHAR(20)",
        "let quetz_edited.a be not null",
        "change default of quetz_edited.a from none to x",
        "change type of quetz_edited.b from INTEGER to BIGINT",
        "add column quetz_edited.new TEXT null",
        "add unique uq_quetz_edited_new of quetz_edited (new)",
        f"add check {POSITIVE} of quetz_edited: b > 0",
        "drop column quetz_edited.gone",
    ),
    edit(
        "change one table and add another",
        table(),
        [*column(Text), *table(name="quetz_edited_b")],
        "add column quetz_edited.c TEXT null",
        "add table quetz_edited_b",
    ),
]

NOTHING = [
    edit("change a docstring and add a relationship", documented(""), documented("new")),
    edit("give a default of Python", column(Milliseconds), column(Milliseconds, default=now_ms)),
    edit("spell a number otherwise", column(Integer), column(Integer())),
    edit("leave a flag as it is", column(Boolean), column(Boolean)),
    edit(
        "spell a flag's default otherwise",
        column(Boolean, server_default=true()),
        column(Boolean, server_default=text("true")),
    ),
    edit(
        "spell a number's default otherwise",
        column(Integer, server_default="7"),
        column(Integer, server_default=text("7")),
    ),
    edit(
        "leave a text's default as it is",
        column(String(9), server_default="it's"),
        column(String(9), server_default="it's"),
    ),
    edit(
        "leave a text's default with a cast in it as it is",
        column(Text, server_default="a::text"),
        column(Text, server_default="a::text"),
    ),
    edit(
        "spell now otherwise",
        column(DateTime(timezone=True), server_default=func.now()),
        column(DateTime(timezone=True), server_default=text("CURRENT_TIMESTAMP")),
    ),
    edit(
        "name an index as it was named",
        column(Text, index=True),
        table(Column("c", Text), Index("ix_quetz_edited_c", "c")),
    ),
    edit(
        "name a unique constraint as it was named",
        column(Text, unique=True),
        table(Column("c", Text), UniqueConstraint("c", name="uq_quetz_edited_c")),
    ),
    edit(
        "leave JSON as it is",
        column(JSON_OR_JSONB, server_default="{}"),
        column(JSON_OR_JSONB, server_default="{}"),
    ),
    edit("leave an enumeration as it is", column(kind_of("a", "b")), column(kind_of("a", "b"))),
    edit(
        "leave bytes, fractions and ids as they are",
        table(
            Column("a", LargeBinary),
            Column("b", Float),
            Column("c", Uuid),
            Column("d", ByteOrdered),
        ),
        table(
            Column("a", LargeBinary),
            Column("b", Float),
            Column("c", Uuid),
            Column("d", ByteOrdered),
        ),
    ),
    edit("take a type of a plugin's own for the plain one", column(String(20)), column(Upper)),
    edit(
        "turn the order of columns",
        table(Column("a", Text), Column("b", Text)),
        table(Column("b", Text), Column("a", Text)),
    ),
]

EDITS = [
    *TABLES,
    *COLUMNS,
    *TYPES,
    *NULLS_AND_DEFAULTS,
    *INDEXES,
    *CONSTRAINTS,
    *REFERENCES,
    *ENUMS,
    *COMMENTS,
    *SEVERAL,
    *NOTHING,
]
