"""SQL as text: what an expression says, and how ``text`` reads it without changing a word."""

import re
from typing import Any

from sqlalchemy import Dialect, TextClause

_PARAMETER = re.compile(r"(?<![:\w\\]):(?=\w+(?![:\w]))")  # as SQLAlchemy finds one


def sql_of(expression: Any, dialect: Dialect) -> str:
    """Return the SQL of an expression, its values in it and without names of tables."""
    kwargs = {"literal_binds": True, "include_table": False}
    sql = str(expression.compile(dialect=dialect, compile_kwargs=kwargs))
    # For a driver that would take them for places of parameters they are doubled.
    return sql.replace("%%", "%") if dialect.paramstyle in {"format", "pyformat"} else sql


def escaped(sql: str) -> str:
    """Write SQL so that ``text`` takes no word after a colon in it for a parameter."""
    return _PARAMETER.sub(r"\\:", sql)


def parameters_of(expression: Any) -> list[str]:
    """Return what ``text`` took for parameters: ``[":x"]``. No part of a table can have any."""
    names = expression._bindparams if isinstance(expression, TextClause) else ()  # noqa: SLF001
    return [f":{name}" for name in names]
