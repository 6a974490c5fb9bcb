"""Indexes, constraints, references and enumerations."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from quetz.testing.model_edits.edits import POSITIVE, column, edit, kind_of, table


def some_rows(condition: str, kind: Any = Integer) -> list[Table]:
    where = text(condition)
    return table(
        Column("c", kind),
        Index("ix_quetz_edited_x", "c", sqlite_where=where, postgresql_where=where),
    )


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

EXPRESSIONS = [
    edit(
        "add an index of an expression",
        column(Text),
        table(Column("c", Text), Index("ix_quetz_edited_x", text("lower(c)"))),
        "add index ix_quetz_edited_x of quetz_edited (lower(c))",
    ),
    edit(
        "add a column with an index of an expression on it",
        table(),
        table(Column("c", Text), Index("ix_quetz_edited_x", text("lower(c)"))),
        "add column quetz_edited.c TEXT null",
        "add index ix_quetz_edited_x of quetz_edited (lower(c))",
    ),
    edit(
        "drop a column with an index of an expression on it",
        table(Column("c", Text), Index("ix_quetz_edited_x", text("lower(c)"))),
        table(),
        "drop index ix_quetz_edited_x of quetz_edited",
        "drop column quetz_edited.c",
    ),
    edit(
        "drop an index of an expression",
        table(Column("c", Text), Index("ix_quetz_edited_x", text("lower(c)"))),
        column(Text),
        "drop index ix_quetz_edited_x of quetz_edited",
    ),
    edit(
        "add a table with an index of an expression",
        [],
        table(Column("c", Text), Index("ix_quetz_edited_x", text("lower(c)"))),
        "add table quetz_edited",
        "add index ix_quetz_edited_x of quetz_edited (lower(c))",
    ),
    edit(
        "leave an index of an expression as it is",
        table(Column("c", Text), Index("ix_quetz_edited_x", text("lower(c)"))),
        table(Column("c", Text), Index("ix_quetz_edited_x", text("lower(c)"))),
    ),
    edit(
        "add an index of some rows",
        column(Integer),
        some_rows("c > 0"),
        "add index ix_quetz_edited_x of quetz_edited (c) where c > 0",
    ),
    edit(
        "drop an index of some rows",
        some_rows("c > 0"),
        column(Integer),
        "drop index ix_quetz_edited_x of quetz_edited",
    ),
    edit(
        "index other rows",
        some_rows("c > 0"),
        some_rows("c > 1"),
        sqlite=[
            "drop index ix_quetz_edited_x of quetz_edited",
            "add index ix_quetz_edited_x of quetz_edited (c) where c > 1",
        ],
        postgresql=[],
    ),
    edit(
        "change a type below an index of some rows",
        some_rows("c > 0"),
        some_rows("c > 0", BigInteger),
        "change type of quetz_edited.c from INTEGER to BIGINT",
    ),
    edit("leave an index of some rows as it is", some_rows("c > 0"), some_rows("c > 0")),
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
        "drop a column that must not be null, with its check",
        column(Integer, CheckConstraint("c > 0", name="positive"), nullable=False),
        table(),
        f"drop check {POSITIVE} of quetz_edited",
        "drop column quetz_edited.c",
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
        "drop a column that refers and must not be null",
        column(BigInteger, ForeignKey("users.id"), nullable=False),
        table(),
        "drop foreign key fk_quetz_edited_c_users of quetz_edited",
        "drop column quetz_edited.c",
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
