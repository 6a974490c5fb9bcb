"""Texts in defaults, rules, conditions and comments that look like parameters of a statement."""

from typing import Any

from sqlalchemy import CheckConstraint, Column, Index, String, Table, Text, Time, desc, text

from quetz.testing.model_edits.edits import JSON_OR_JSONB, column, edit, table

ODD = """it's 12:30:00 :x %s %(y)s 100% {"a":1}"""
LITERAL = "'" + ODD.replace("'", "''") + "'"
CONDITION = f"c <> {LITERAL}"
REPLACED = "replace(c, 'it''s 100% : %s', '')"


def sql(literal: str) -> Any:
    """Return it as an author has to write it, who means no parameter."""
    return text(literal.replace(":", "\\:"))


def ruled(*items: Any, kind: Any = Text) -> list[Table]:
    return table(Column("c", kind), *items)


def rule() -> CheckConstraint:
    return CheckConstraint(sql(CONDITION), name="odd")


def some_rows(condition: str = CONDITION) -> Index:
    where = sql(condition)
    return Index("ix_quetz_edited_x", "c", sqlite_where=where, postgresql_where=where)


def of_texts() -> Index:
    return Index("ix_quetz_edited_y", sql(REPLACED))


CHECK_LINE = f"ck_quetz_edited_odd of quetz_edited: {CONDITION}"
INDEX_LINE = f"index ix_quetz_edited_x of quetz_edited (c) where {CONDITION}"
TYPE_LINE = "change type of quetz_edited.c from VARCHAR(50) to VARCHAR(60)"

TEXTS = [
    edit(
        "add a column with an odd text as default",
        table(),
        column(Text, server_default=ODD, nullable=False),
        "add column quetz_edited.c TEXT not null",
    ),
    edit(
        "add a table with an odd text as default",
        [],
        column(Text, server_default=sql(LITERAL)),
        "add table quetz_edited",
    ),
    edit(
        "give an odd text as default",
        column(Text),
        column(Text, server_default=ODD),
        f"change default of quetz_edited.c from none to {ODD}",
    ),
    edit(
        "drop a column with an odd text as default",
        column(Text, server_default=ODD),
        table(),
        "drop column quetz_edited.c",
    ),
    edit(
        "leave an odd text as default",
        column(Text, server_default=sql(LITERAL)),
        column(Text, server_default=ODD),
    ),
    edit(
        "leave a text in quotes as default",
        column(Text, server_default="'x'"),
        column(Text, server_default="'x'"),
    ),
    edit(
        "add JSON and a time with defaults",
        table(),
        table(
            Column("a", JSON_OR_JSONB, server_default='{"a":1, "b": ":x"}'),
            Column("b", Time, server_default="12:30:00"),
        ),
        sqlite=["add column quetz_edited.a JSON null", "add column quetz_edited.b TIME null"],
        postgresql=[
            "add column quetz_edited.a JSONB null",
            "add column quetz_edited.b TIME WITHOUT TIME ZONE null",
        ],
    ),
    edit("add a rule of an odd text", ruled(), ruled(rule()), f"add check {CHECK_LINE}"),
    edit(
        "add a table with odd rules",
        [],
        ruled(rule(), some_rows()),
        "add table quetz_edited",
        f"add {INDEX_LINE}",
    ),
    edit(
        "drop a rule of an odd text",
        ruled(rule()),
        ruled(),
        "drop check ck_quetz_edited_odd of quetz_edited",
    ),
    edit("index rows by an odd text", ruled(), ruled(some_rows()), f"add {INDEX_LINE}"),
    edit(
        "index other rows, by the case of a text",
        ruled(some_rows("c <> 'A'")),
        ruled(some_rows("c <> 'a'")),
        sqlite=[
            "drop index ix_quetz_edited_x of quetz_edited",
            "add index ix_quetz_edited_x of quetz_edited (c) where c <> 'a'",
        ],
        postgresql=[],
    ),
    edit(
        "index other rows, by the blanks and quotes in a text",
        ruled(some_rows("c <> '[a  b]'")),
        ruled(some_rows("c <> 'a b'")),
        sqlite=[
            "drop index ix_quetz_edited_x of quetz_edited",
            "add index ix_quetz_edited_x of quetz_edited (c) where c <> 'a b'",
        ],
        postgresql=[],
    ),
    edit(
        "spell a condition otherwise",
        ruled(some_rows("c <> 'A'")),
        ruled(some_rows("\"c\"<>'A'")),
    ),
    edit(
        "add an index of an expression with an odd text",
        ruled(),
        ruled(of_texts()),
        f"add index ix_quetz_edited_y of quetz_edited ({REPLACED})",
    ),
    edit(
        "drop an index of an expression with an odd text",
        ruled(of_texts()),
        ruled(),
        "drop index ix_quetz_edited_y of quetz_edited",
    ),
    edit(
        "index in descending order",
        ruled(),
        ruled(Index("ix_quetz_edited_x", desc("c"), "id")),
        "add index ix_quetz_edited_x of quetz_edited (c DESC, id)",
    ),
    edit(
        "index in the other order",
        ruled(Index("ix_quetz_edited_x", desc("c"))),
        ruled(Index("ix_quetz_edited_x", "c")),
        "drop index ix_quetz_edited_x of quetz_edited",
        "add index ix_quetz_edited_x of quetz_edited (c)",
    ),
    edit(
        "copy a table with odd texts in defaults, rules and conditions",
        table(Column("c", String(50), server_default=ODD), rule(), some_rows()),
        table(Column("c", String(60), server_default=ODD), rule(), some_rows()),
        TYPE_LINE,
    ),
    edit(
        "comment oddly",
        column(Text),
        table(Column("c", Text, comment=ODD), comment=ODD),
        sqlite=[],
        postgresql=[
            f"change comment of quetz_edited to {ODD!r}",
            f"change comment of quetz_edited.c from None to {ODD!r}",
        ],
    ),
]
