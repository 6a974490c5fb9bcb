"""What the tests of plugins see of a database."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    func,
)

from quetz.db.engine import open_engine
from quetz.testing.migrations.snapshots import Snapshot


def test_a_column_is_bound_whose_values_no_default_can_give_back(empty_database_url):
    table = Table(
        "t",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("plain", String, nullable=False),
        Column("kind", String, CheckConstraint("kind IN ('a', 'b')"), nullable=False),
        Column("found", String, nullable=False, index=True),
        Column("may_be_null", String, unique=True),
        Column("refers", Integer, ForeignKey("t.id"), nullable=False),
        Column("ruled", String, CheckConstraint("length(ruled) > 2"), nullable=False),
        Column("slug", String, nullable=False, unique=True),
        Column("word", String, nullable=False, index=True, unique=True),
    )
    Index("ix_lower", func.lower(table.c.plain), unique=True)
    engine = open_engine(empty_database_url)
    try:
        with engine.execution_options(write=True).begin() as connection:
            table.create(connection)
            snapshot = Snapshot.of(connection)
    finally:
        engine.dispose()

    assert snapshot.tables["t"].bound == {"refers", "ruled", "slug", "word"}
