"""Reads tables from a database so that what it tells of them means what it says there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from sqlalchemy import CheckConstraint, Index, Table, event, text

from quetz.migrations.schemas.expressions import escaped, parameters_of
from quetz.migrations.schemas.sqlite_indexes import without_warnings_of_indexes


@contextmanager
def reflecting() -> Iterator[None]:
    """Keep SQLAlchemy from putting NULL for each ``:word`` in a default, a rule or a condition.

    It reads them by ``text``. It also warns of indexes, which are compared otherwise here.
    """
    # Each time others: SQLAlchemy would remove those of the code around this with ours.
    listeners: list[tuple[type, str, Callable[..., None]]] = [
        (Table, "column_reflect", partial(_mend_column)),
        (CheckConstraint, "before_parent_attach", partial(_mend_check)),
        (Index, "before_parent_attach", partial(_mend_index)),
    ]
    for listener in listeners:
        event.listen(*listener)
    try:
        with without_warnings_of_indexes():
            yield
    finally:
        for listener in listeners:
            event.remove(*listener)


def _mend_column(_inspector: object, _table: Table, column: dict[str, Any]) -> None:
    if column.get("default"):
        column["default"] = escaped(column["default"])
    if column.get("computed"):
        computed = column["computed"]
        column["computed"] = computed | {"sqltext": escaped(computed["sqltext"])}


def _mend_check(check: CheckConstraint, _table: object) -> None:
    check.sqltext = _mended(check.sqltext)


def _mend_index(index: Index, _table: object) -> None:
    for dialect in ("sqlite", "postgresql"):
        options = index.dialect_options[dialect]
        if options["where"] is not None:
            options["where"] = _mended(options["where"])


def _mended(condition: Any) -> Any:
    if isinstance(condition, str):  # as PostgreSQL's is reflected
        return text(escaped(condition))
    return text(escaped(condition.text)) if parameters_of(condition) else condition
