"""The declarative base, and the column types that all tables share."""

import time
import uuid

from sqlalchemy import BigInteger, Integer, MetaData, String
from sqlalchemy.orm import DeclarativeBase

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Every table of quetz and of its plugins.

    All constraints get a name by convention, so that a migration can name what it drops.
    """

    metadata = MetaData(naming_convention=NAMING_CONVENTION)


# SQLite numbers rows by itself only in a column typed exactly INTEGER.
RowId = BigInteger().with_variant(Integer, "sqlite")

# Ordered by bytes on every database, so that key ranges and pages agree with Python. SQLite's
# BINARY is the default there; a PostgreSQL database may have any collation.
ByteOrdered = String().with_variant(String(collation="C"), "postgresql")

# Times are Unix milliseconds in UTC, as in ``indexed_timestamp`` (CEP 47).
Milliseconds = BigInteger


def now_ms() -> int:
    """Return the present as Unix milliseconds."""
    return time.time_ns() // 1_000_000


def new_public_id() -> str:
    """Return a random id that may be shown to users; row ids never are."""
    return str(uuid.uuid4())
