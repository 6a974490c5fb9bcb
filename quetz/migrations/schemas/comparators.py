"""Compares types, defaults and CHECKs where Alembic sees differences that are none, or misses some.

Alembic compares defaults on PostgreSQL by running them, and CHECKs by their names alone.
"""

import json
import re
from decimal import Decimal
from typing import Any, cast

from alembic.autogenerate.api import AutogenContext
from alembic.migration import MigrationContext
from alembic.operations import ops
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy import CheckConstraint, Column, DefaultClause, Dialect, Table
from sqlalchemy.types import JSON, Boolean, Float, Integer, Numeric, String, TypeEngine, Uuid

from quetz.migrations.schemas.expressions import sql_of
from quetz.migrations.schemas.sqlite_indexes import compare_indexes

PLUGIN = Plugin("quetz.comparators")

_CAST = re.compile(
    r"('(?:[^']|'')*')"  # what looks like one in a text is none
    r"|::(?:\"[^\"]+\"|[a-z_]\w*)(?: (?:varying|precision))?(?:\(\d+(?:,\d+)?\))?"
    r"(?: with(?:out)? time zone)?(?:\[\])*",
    re.IGNORECASE,
)
NOW = {"now()", "now", "current_timestamp"}
_NUMBER = re.compile(r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?")
_TRUE, _FALSE = {"true", "1", "'1'", "'t'", "'true'"}, {"false", "0", "'0'", "'f'", "'false'"}


def differ(
    context: MigrationContext,
    _found: Column[Any],
    _model: Column[Any],
    found_type: TypeEngine[Any],
    model_type: TypeEngine[Any],
) -> bool | None:
    """Add to Alembic's comparison of types what text is ordered by; SQLite does not tell that."""
    wanted = model_type.dialect_impl(context.dialect)
    if context.dialect.name == "sqlite" or not isinstance(found_type, String):
        return None
    return True if found_type.collation != getattr(wanted, "collation", None) else None


def differ_in_use(
    context: MigrationContext,
    found: Column[Any],
    model: Column[Any],
    found_type: TypeEngine[Any],
    model_type: TypeEngine[Any],
) -> bool | None:
    if context.dialect.name == "sqlite":
        wanted = model_type.dialect_impl(context.dialect)
        for stored_alike in ((Integer, Boolean), (String,)):
            if isinstance(found_type, stored_alike) and isinstance(wanted, stored_alike):
                return False
    return differ(context, found, model, found_type, model_type)


def _compare_defaults(
    context: AutogenContext,
    op: ops.AlterColumnOp,
    _schema: str | None,
    _table: str,
    _name: str,
    found: Column[Any],
    model: Column[Any],
) -> PriorityDispatchResult:
    """Compare as text, which a computed or an identity column has not."""
    old, new = found.server_default, model.server_default
    if old is new is None or not all(
        isinstance(default, DefaultClause | None) for default in (old, new)
    ):
        return PriorityDispatchResult.CONTINUE
    op.existing_server_default = cast("DefaultClause | None", old)
    texts = {default_text(default, model.type, context.dialect) for default in (old, new)}
    is_numbered = model.primary_key and model is model.table.autoincrement_column
    if len(texts) > 1 and not is_numbered:
        op.modify_server_default = cast("DefaultClause | None", new)
    return PriorityDispatchResult.STOP


def default_text(default: Any, kind: TypeEngine[Any], dialect: Dialect) -> str | None:
    """Write a default in one way, however a database or a model has it: ``now()``, ``'x'``."""
    if default is None:
        return None
    text = default.arg
    if not isinstance(text, str):
        return plain_default(sql_of(text, dialect), kind)
    literal = text.replace("'", "''")  # as SQLAlchemy writes it
    return plain_default(f"'{literal}'", kind)


def plain_default(text: str, kind: TypeEngine[Any]) -> str:
    """Write the SQL of a default as all databases and models are compared by."""
    text = without_casts(text)
    while text.startswith("(") and text.endswith(")"):
        text = text[1:-1]
    if isinstance(kind, Boolean):
        plain = text.lower()
        return "true" if plain in _TRUE else "false" if plain in _FALSE else text
    if isinstance(kind, JSON):
        return _plain_json(text)
    if text.lower() in NOW:
        return "now()"
    bare = text.strip("'")
    if isinstance(kind, Uuid):  # as SQLite has it; PostgreSQL writes it with dashes
        return bare.replace("-", "").lower()
    if isinstance(kind, Float | Numeric) and _NUMBER.fullmatch(bare):
        return f"{Decimal(bare).normalize():f}"  # PostgreSQL writes 1 for 1.0 and for 1e0
    return bare if re.fullmatch(r"-?[\d.]+", bare) else text


def _plain_json(text: str) -> str:
    """Write JSON as it is compared by: PostgreSQL does not keep its blanks and its order."""
    try:
        return json.dumps(json.loads(text[1:-1].replace("''", "'")), sort_keys=True)
    except ValueError:
        return text


def without_casts(text: str) -> str:
    """Take away what PostgreSQL adds: ``'x'::character varying``."""
    return _CAST.sub(lambda found: found[1] or "", text)


def _compare_checks(
    context: AutogenContext,
    modify: ops.ModifyTableOps,
    _schema: str | None,
    _name: str,
    found: Table | None,
    model: Table | None,
) -> PriorityDispatchResult:
    """Compare the rules of CHECKs of one name; PostgreSQL keeps them in other words."""
    dialect = context.dialect
    if found is None or model is None or dialect.name != "sqlite":
        return PriorityDispatchResult.CONTINUE
    old = {check.name: check for check in _checks(found)}
    for check in _checks(model):
        if check.name in old and _rule(check, dialect) != _rule(old[check.name], dialect):
            modify.ops.append(ops.DropConstraintOp.from_constraint(old[check.name]))
            modify.ops.append(ops.AddConstraintOp.from_constraint(check))
    return PriorityDispatchResult.CONTINUE


class ChangeKeyOp(ops.MigrateOperation):
    """Tells of a primary key that changes; ``old`` and ``new`` are names of columns."""

    def __init__(self, table_name: str, old: list[str], new: list[str]) -> None:
        super().__init__()
        self.table_name = table_name
        self.old, self.new = old, new

    def reverse(self) -> "ChangeKeyOp":
        return ChangeKeyOp(self.table_name, self.new, self.old)

    def __str__(self) -> str:
        return f"from ({', '.join(self.old)}) to ({', '.join(self.new)})"


def _compare_keys(
    _context: AutogenContext,
    modify: ops.ModifyTableOps,
    _schema: str | None,
    name: str,
    found: Table | None,
    model: Table | None,
) -> PriorityDispatchResult:
    """Find another primary key, of which Alembic knows nothing."""
    if found is not None and model is not None:
        old, new = ([column.name for column in table.primary_key] for table in (found, model))
        if set(old) != set(new):
            modify.ops.append(ChangeKeyOp(name, old, new))
    return PriorityDispatchResult.CONTINUE


def _checks(table: Table) -> list[CheckConstraint]:
    constraints = set(table.constraints).union(*(column.constraints for column in table.columns))
    checks = [one for one in constraints if isinstance(one, CheckConstraint) and one.name]
    return sorted(checks, key=lambda check: str(check.name))


def _rule(check: CheckConstraint, dialect: Dialect) -> str:
    return " ".join(sql_of(check.sqltext, dialect).split())


PLUGIN.add_autogenerate_comparator(
    _compare_defaults, "column", "server_default", priority=DispatchPriority.FIRST
)
PLUGIN.add_autogenerate_comparator(_compare_checks, "table", "rules_of_checks")
PLUGIN.add_autogenerate_comparator(_compare_keys, "table", "primary_keys")
PLUGIN.add_autogenerate_comparator(
    # First: what is dropped makes room for what Alembic adds under its name.
    compare_indexes,
    "table",
    "indexes_of_sqlite",
    qualifier="sqlite",
    priority=DispatchPriority.FIRST,
)
