"""Columns."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Integer,
    String,
    Text,
    func,
    true,
)
from sqlalchemy.sql import false

from quetz.db.base import ByteOrdered
from quetz.testing.model_edits.edits import JSON_OR_JSONB, Upper, column, edit, table

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
        "drop a unique column that must not be null",
        column(Text, nullable=False, unique=True),
        table(),
        "drop unique uq_quetz_edited_c of quetz_edited",
        "drop column quetz_edited.c",
    ),
    edit(
        "drop a column with a unique index that must not be null",
        column(Integer, nullable=False, unique=True, index=True),
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
