"""Types, nulls and defaults of columns."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Integer,
    Numeric,
    SmallInteger,
    String,
    Text,
    func,
    text,
    true,
)
from sqlalchemy.sql import false

from quetz.db.base import ByteOrdered
from quetz.testing.model_edits.edits import JSON_OR_JSONB, TABLE, column, edit, kinds, table

LOCAL = "TIMESTAMP WITHOUT TIME ZONE"

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
        postgresql=[f"change type of {TABLE}.c from {LOCAL} to TIMESTAMP WITH TIME ZONE"],
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
        column(Text, server_default="it's :x"),
        column(Text, nullable=False, server_default="it's :x"),
        "let quetz_edited.c be not null",
    ),
    edit(
        "let a flag and a time be null no more",
        table(Column("a", Boolean), Column("b", DateTime(timezone=True))),
        table(
            Column("a", Boolean, nullable=False, server_default=true()),
            Column("b", DateTime(timezone=True), nullable=False, server_default=func.now()),
        ),
        sqlite=[
            "let quetz_edited.a be not null",
            "change default of quetz_edited.a from none to 1",
            "let quetz_edited.b be not null",
            "change default of quetz_edited.b from none to CURRENT_TIMESTAMP",
        ],
        postgresql=[
            "let quetz_edited.a be not null",
            "change default of quetz_edited.a from none to true",
            "let quetz_edited.b be not null",
            "change default of quetz_edited.b from none to now()",
        ],
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
