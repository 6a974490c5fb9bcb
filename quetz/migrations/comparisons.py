"""Compares a database with the models of some owners: what one has and the other has not.

Tables of nobody are not even looked at: only a model, or the ledger, makes a table an owner's.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from alembic.autogenerate import produce_migrations
from alembic.autogenerate.api import AutogenContext
from alembic.migration import MigrationContext
from alembic.operations import ops
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    DefaultClause,
    Dialect,
    MetaData,
    Table,
    UniqueConstraint,
)
from sqlalchemy.types import Boolean, Integer, String, TypeEngine

from quetz.db.base import Base
from quetz.migrations.descriptions import describe, is_extra, table_of
from quetz.migrations.ledger import LEDGER, owners_of_tables, read_entries
from quetz.plugins import Plugins


@dataclass(frozen=True)
class Models:
    """Models, and whose they are; ``makers`` tells it of tables that no model has any more."""

    metadata: MetaData
    owner_of: Callable[[str], str]
    makers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, connection: Connection, plugins: Plugins) -> "Models":
        makers = owners_of_tables(read_entries(connection))
        owners = {table: owner for table, (owner, _revision) in makers.items()}
        return cls(Base.metadata, plugins.owner_of_table, owners)

    def owner(self, table: str) -> str | None:
        if table in self.metadata.tables:
            return self.owner_of(table)
        return self.makers.get(table)


def compare(connection: Connection, plugins: Plugins, owner: str) -> ops.UpgradeOps:
    """Return what would make the database's tables of ``owner`` those of its models."""
    return compare_models(connection, Models.of(connection, plugins), {owner})


def differences(
    connection: Connection,
    plugins: Plugins,
    owners: Collection[str] | None = None,
    *,
    extras: bool = True,
) -> set[str]:
    """Return a line for each difference from the models of ``owners``, or of all there are.

    ``{"quetz: add column channels.ttl INTEGER not null", ...}``: what is left to be done. What
    SQLite stores alike is no difference there. Without ``extras`` those are left out that only
    the database has.
    """
    models = Models.of(connection, plugins)
    wanted = set(plugins.migrations if owners is None else owners)
    if not wanted:
        return set()
    found = compare_models(connection, models, wanted, exact=False)
    return {
        f"{models.owner(table_of(op))}: {line}"
        for op in atomic(found)
        if extras or not is_extra(op)
        for line in describe([op], connection.dialect)
    }


def compare_models(
    connection: Connection, models: Models, owners: Collection[str], *, exact: bool = True
) -> ops.UpgradeOps:
    """Return what would make the tables of ``owners`` those of their models.

    Unless ``exact``, types are equal that SQLite stores alike: a revision may widen them on
    PostgreSQL alone.
    """
    options = comparison_options(models, owners, exact=exact)
    context = MigrationContext.configure(connection, opts=options)
    found = produce_migrations(context, models.metadata).upgrade_ops
    return cast("ops.UpgradeOps", found)


def comparison_options(
    models: Models, owners: Collection[str], *, exact: bool = True
) -> dict[str, Any]:
    def is_looked_at(name: str | None, kind: str, _parents: object) -> bool:
        if kind != "table" or name is None:
            return True
        return name != LEDGER.name and models.owner(name) in owners

    def is_compared(
        thing: Any,
        name: str | None,
        kind: str,
        _reflected: bool,  # noqa: FBT001 (Alembic passes it so)
        _other: object,
    ) -> bool:
        if kind == "unique_constraint":  # PostgreSQL makes none where the primary key is one
            return not _is_key(thing)
        return is_looked_at(name, kind, {})

    return {
        "target_metadata": models.metadata,
        "include_name": is_looked_at,
        "include_object": is_compared,
        "compare_type": _differ if exact else _differ_in_use,
        "compare_server_default": True,
        "autogenerate_plugins": [
            "alembic.autogenerate.*",
            "alembic.ext.checkconstraint_byname",
            _PLUGIN.name,
        ],
    }


def atomic(found: ops.UpgradeOps | ops.DowngradeOps) -> Iterator[ops.MigrateOperation]:
    """Yield the operations without the containers that Alembic puts those of a table into."""
    for op in found.ops:
        if isinstance(op, ops.ModifyTableOps):
            yield from op.ops
        else:
            yield op


def _is_key(unique: UniqueConstraint) -> bool:
    return {column.name for column in unique.columns} == {
        column.name for column in unique.table.primary_key
    }


def _differ(
    context: MigrationContext,
    _found: Column[Any],
    _model: Column[Any],
    found_type: TypeEngine[Any],
    model_type: TypeEngine[Any],
) -> bool | None:
    """Add to Alembic's comparison of types what text is ordered by; SQLite does not tell that."""
    wanted = model_type.dialect_impl(context.dialect)
    if context.dialect.name == "postgresql" and isinstance(found_type, String):
        if found_type.collation != getattr(wanted, "collation", None):
            return True
    return None


def _differ_in_use(
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
    return _differ(context, found, model, found_type, model_type)


# Alembic compares defaults on PostgreSQL by running them, and CHECKs by their names alone.
_PLUGIN = Plugin("quetz.comparisons")

_CAST = re.compile(
    r"('(?:[^']|'')*')"  # what looks like one in a text is none
    r"|::(?:\"[^\"]+\"|[a-z_]\w*)(?: (?:varying|precision))?(?:\(\d+(?:,\d+)?\))?"
    r"(?: with(?:out)? time zone)?(?:\[\])*",
    re.IGNORECASE,
)
_STRING = re.compile(r"'(?:[^']|'')*'")
NOW = {"now()", "now", "current_timestamp"}
_TRUE, _FALSE = {"true", "1", "'1'", "'t'", "'true'"}, {"false", "0", "'0'", "'f'", "'false'"}


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
    if old is new is None or not all(isinstance(default, DefaultClause | None) for default in (old, new)):
        return PriorityDispatchResult.CONTINUE
    op.existing_server_default = cast("DefaultClause | None", old)
    dialect = cast("Dialect", context.dialect)
    if default_text(old, model.type, dialect) != default_text(new, model.type, dialect):
        if not (model.primary_key and model is model.table.autoincrement_column):
            op.modify_server_default = cast("DefaultClause | None", new)
    return PriorityDispatchResult.STOP


def default_text(default: Any, kind: TypeEngine[Any], dialect: Dialect) -> str | None:
    """Write a default in one way, however a database or a model has it: ``now()``, ``'x'``."""
    if default is None:
        return None
    text = default.arg if isinstance(default.arg, str) else _compiled(default.arg, dialect)
    if isinstance(default.arg, str) and not _STRING.fullmatch(text):
        text = "'" + text.replace("'", "''") + "'"  # as SQLAlchemy writes it
    text = without_casts(text)
    while text.startswith("(") and text.endswith(")"):
        text = text[1:-1]
    if isinstance(kind, Boolean):
        plain = text.lower()
        return "true" if plain in _TRUE else "false" if plain in _FALSE else text
    if text.lower() in NOW:
        return "now()"
    number = text.strip("'")
    return number if re.fullmatch(r"-?[\d.]+", number) else text


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
    dialect = cast("Dialect", context.dialect)
    if found is None or model is None or dialect.name != "sqlite":
        return PriorityDispatchResult.CONTINUE
    old = {check.name: check for check in _checks(found)}
    for check in _checks(model):
        if check.name in old and _rule(check, dialect) != _rule(old[check.name], dialect):
            modify.ops.append(ops.DropConstraintOp.from_constraint(old[check.name]))
            modify.ops.append(ops.AddConstraintOp.from_constraint(check))
    return PriorityDispatchResult.CONTINUE


def _checks(table: Table) -> list[CheckConstraint]:
    checks = (one for one in table.constraints if isinstance(one, CheckConstraint))
    return sorted((one for one in checks if one.name), key=lambda one: str(one.name))


def _rule(check: CheckConstraint, dialect: Dialect) -> str:
    return " ".join(_compiled(check.sqltext, dialect).split())


def _compiled(expression: Any, dialect: Dialect) -> str:
    kwargs = {"literal_binds": True, "include_table": False}
    return str(expression.compile(dialect=dialect, compile_kwargs=kwargs))


_PLUGIN.add_autogenerate_comparator(
    _compare_defaults, "column", "server_default", priority=DispatchPriority.FIRST
)
_PLUGIN.add_autogenerate_comparator(_compare_checks, "table", "rules_of_checks")
