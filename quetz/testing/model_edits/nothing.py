"""Edits that need no migration."""

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Double,
    Float,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    String,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
    true,
)

from quetz.db.base import ByteOrdered, Milliseconds, now_ms
from quetz.testing.model_edits.edits import (
    JSON_OR_JSONB,
    Upper,
    column,
    documented,
    edit,
    kind_of,
    table,
)

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
    edit(
        "spell defaults of fractions and ids otherwise",
        table(
            Column("a", Float, server_default="1.0"),
            Column("b", Double, server_default=text("-0.50")),
            Column("c", Numeric(10, 2), server_default="1e2"),
            Column("d", Uuid, server_default="0" * 31 + "a"),
        ),
        table(
            Column("a", Float, server_default="1.0"),
            Column("b", Double, server_default="-.5"),
            Column("c", Numeric(10, 2), server_default=text("100")),
            Column("d", Uuid, server_default="0" * 31 + "A"),
        ),
    ),
    edit("take a type of a plugin's own for the plain one", column(String(20)), column(Upper)),
    edit(
        "turn the order of columns",
        table(Column("a", Text), Column("b", Text)),
        table(Column("b", Text), Column("a", Text)),
    ),
]
