"""Tables and their comments, and several changes at once."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Integer,
    String,
    Text,
    UniqueConstraint,
)

from quetz.testing.model_edits.edits import POSITIVE, column, edit, table

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
