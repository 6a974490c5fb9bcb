"""Makes operations found on one database fit for both, whichever of them a revision meets."""

from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import Any, cast

from alembic.operations import ops
from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    DefaultClause,
    Dialect,
    Index,
    false,
    inspect,
    literal,
    true,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import CompileError
from sqlalchemy.types import Boolean, String, TypeEngine

from quetz.migrations.authoring.seeds import a_filler, is_ruled, listed_value
from quetz.migrations.schemas.comparators import NOW, default_text, without_casts
from quetz.migrations.schemas.comparisons import atomic
from quetz.migrations.schemas.expressions import escaped, sql_of
from quetz.migrations.schemas.sqlite_tables import has_autoincrement

SQLITE: Dialect = sqlite.dialect()
POSTGRESQL: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]


_BINDING = (ops.CreateForeignKeyOp, ops.CreateUniqueConstraintOp, ops.CreateIndexOp)


@dataclass(frozen=True)
class Reflection:
    """What a database tells of its tables; ``types`` are by table and column."""

    types: Mapping[tuple[str, str], TypeEngine[Any]] = field(default_factory=dict)
    autoincrement: frozenset[str] = frozenset()

    @classmethod
    def of(cls, connection: Connection) -> "Reflection":
        found = inspect(connection).get_multi_columns()
        types = {
            (table, column["name"]): column["type"]
            for (_schema, table), columns in found.items()
            for column in columns
        }
        if connection.dialect.name != "sqlite":
            return cls(types)
        tables = {table for table, _column in types if has_autoincrement(connection, table)}
        return cls(types, frozenset(tables))


class CastColumnOp(ops.AlterColumnOp):
    """Changes a type into one that PostgreSQL does not turn the old values into by itself."""


@dataclass
class Change:
    """What to do, and what to do to take it back.

    Rows of the tables ``lost`` cannot come back: they referred to something, or had something each
    of its own, that is not known any more.
    """

    up: ops.UpgradeOps
    down: ops.DowngradeOps
    lost: set[str] = field(default_factory=set)

    def loses(self) -> list[str]:
        """Return the tables, and ``table.column``, whose contents going up throws away."""
        dropped = (
            f"{op.table_name}.{op.column_name}"
            if isinstance(op, ops.DropColumnOp)
            else op.table_name
            for op in atomic(self.up)
            if isinstance(op, ops.DropColumnOp | ops.DropTableOp)
        )
        return sorted(dropped)


def add_missing(found: ops.UpgradeOps, others: ops.UpgradeOps) -> None:
    """Add to what was found on SQLite what only PostgreSQL tells: collations, time zones."""
    known = {_subject(op): op for op in atomic(found)}
    for op in atomic(others):
        same: Any = known.get(_subject(op))
        if same is None:
            table: str = op.table_name  # type: ignore[attr-defined]
            found.ops.append(ops.ModifyTableOps(table, [op]))
        elif isinstance(op, ops.AlterColumnOp):
            same.modify_type = op.modify_type if same.modify_type is None else same.modify_type
            same.modify_comment, same.existing_comment = op.modify_comment, op.existing_comment


def _subject(op: ops.MigrateOperation) -> tuple[object, ...]:
    names = ("table_name", "source_table", "column_name", "index_name", "constraint_name")
    column = op.column.name if isinstance(op, ops.AddColumnOp) else None
    return (type(op), column, *(getattr(op, name, None) for name in names))


def change_of(found: ops.UpgradeOps, here: Reflection, there: Reflection | None) -> Change:
    """Return what to do for what was found; ``here`` is SQLite, ``there`` PostgreSQL."""
    known = _Known(here, there or Reflection())
    for op in atomic(found):
        if isinstance(op, ops.AlterColumnOp):
            known.mend_existing(op)
        elif isinstance(op, ops.CreateTableOp):
            op.columns = [_without_type(item) for item in op.columns]
    change = Change(found, found.reverse())
    for op in atomic(change.down):
        known.mend_returning(op)
    for container in (change.up, change.down):
        for table in _modified(container):
            table.ops[:] = [_cast(op) for op in table.ops]
        container.ops[:] = [part for op in container.ops for part in (*_filled(op), *_split(op))]
    _fill(change)
    return change


@dataclass(frozen=True)
class _Known:
    """How both databases have what is to come back."""

    sqlite: Reflection
    postgresql: Reflection

    def mend_existing(self, op: ops.AlterColumnOp) -> None:
        op.existing_type = self._type(op.table_name, op.column_name, op.existing_type)
        op.existing_server_default = _plain(op.existing_server_default, op.existing_type)

    def mend_returning(self, op: ops.MigrateOperation) -> None:
        if isinstance(op, ops.AddColumnOp):
            self._mend_column(op.table_name, op.column)
        elif isinstance(op, ops.CreateIndexOp) and "sqlite_where" in op.kw:
            op.kw.setdefault("postgresql_where", op.kw["sqlite_where"])
        elif isinstance(op, ops.CreateTableOp):
            for column in op.columns:
                if isinstance(column, Column):
                    self._mend_column(op.table_name, column)
            if op.table_name in self.sqlite.autoincrement:
                op.kw["sqlite_autoincrement"] = True

    def _mend_column(self, table: str, column: Column[Any]) -> None:
        column.type = self._type(table, column.name, column.type)
        column.server_default = _plain(column.server_default, column.type)

    def _type(self, table: str, column: str, default: Any) -> TypeEngine[Any]:
        here = self.sqlite.types.get((table, column), default)
        there = self.postgresql.types.get((table, column))
        return _generic(here, SQLITE) if there is None else _both(here, there)


def _both(here: TypeEngine[Any], there: TypeEngine[Any]) -> TypeEngine[Any]:
    here, there = _generic(here, SQLITE), _generic(there, POSTGRESQL)
    if _sql(here, SQLITE) == _sql(there, SQLITE):
        return there
    return there.with_variant(here, "sqlite")


def _generic(kind: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    try:
        generic = kind.as_generic()
    except NotImplementedError:
        return kind
    return generic if _sql(generic, dialect) == _sql(kind, dialect) else kind


def _sql(kind: TypeEngine[Any], dialect: Dialect) -> str | None:
    try:
        return kind.compile(dialect=dialect)
    except (CompileError, AttributeError):  # a type that the other database lacks
        return None


def _plain(default: Any, kind: Any) -> Any:
    """Write a flag's default so that each database has its own word for it."""
    if isinstance(default, DefaultClause) and isinstance(kind, Boolean):
        value = default_text(default, kind, SQLITE)
        if value in {"true", "false"}:
            return DefaultClause(true() if value == "true" else false())
    return default


def _without_type(item: Any) -> Any:
    """Let a CHECK stand by itself, with its whole name, that belongs to a type."""
    if isinstance(item, CheckConstraint) and item._type_bound:  # noqa: SLF001
        return CheckConstraint(item.sqltext, name=item.name)
    return item


def _filled(op: ops.MigrateOperation) -> Iterator[ops.MigrateOperation]:
    """Let a column's default take the place of null, where null may be no more."""
    for one in op.ops if isinstance(op, ops.ModifyTableOps) else []:
        if isinstance(one, ops.AlterColumnOp) and one.modify_nullable is False:
            default = default_of(one)
            if isinstance(default, DefaultClause):
                quote = POSTGRESQL.identifier_preparer.quote
                column, value = quote(one.column_name), _value(default)
                sql = f"UPDATE {quote(one.table_name)} SET {column} = {value}"  # noqa: S608
                yield ops.ExecuteSQLOp(escaped(f"{sql} WHERE {column} IS NULL"))


def default_of(op: ops.AlterColumnOp) -> Any:
    is_kept = op.modify_server_default is False
    default = op.existing_server_default if is_kept else op.modify_server_default
    return default or None


def _value(default: DefaultClause) -> str:
    """Return it in SQL that both databases take."""
    arg: Any = default.arg
    if isinstance(arg, str):
        arg = literal(arg)
    sql = without_casts(sql_of(arg, POSTGRESQL))
    return "CURRENT_TIMESTAMP" if sql.lower() in NOW else sql


def _split(op: ops.MigrateOperation) -> list[ops.MigrateOperation]:
    """Let indexes of expressions be dropped before, and made after, a table may be copied.

    The copy of an SQLite table knows nothing of them.
    """
    if not isinstance(op, ops.ModifyTableOps):
        return [op]
    before = [one for one in op.ops if isinstance(one, ops.DropIndexOp) and _is_odd(one.to_index())]
    after = [
        one for one in op.ops if isinstance(one, ops.CreateIndexOp) and _is_odd(one.to_index())
    ]
    rest = [one for one in op.ops if one not in before + after]
    return [ops.ModifyTableOps(op.table_name, part) for part in (before, rest, after) if part]


def _is_odd(index: Index) -> bool:
    return not all(isinstance(part, Column) for part in index.expressions)


def _cast(op: ops.MigrateOperation) -> ops.MigrateOperation:
    if not isinstance(op, ops.AlterColumnOp) or op.modify_type is None:
        return op
    old, new = op.existing_type, op.modify_type
    if isinstance(new, String) or old is None or _family(old) is _family(new):
        return op
    casting = CastColumnOp(op.table_name, op.column_name)
    vars(casting).update(vars(op))
    return casting


def _family(kind: TypeEngine[Any]) -> object:
    return kind._type_affinity  # noqa: SLF001


def _fill(change: Change) -> None:
    """Let a column that must not be null come back to tables with rows: a default fills it."""
    for table in _modified(change.down):
        for op in [op for op in table.ops if isinstance(op, ops.AddColumnOp)]:
            column = op.column
            if column.nullable or column.server_default is not None:
                continue
            filler = _filler(column, table.ops)
            if filler is None:
                change.lost.add(table.table_name)
                continue
            column.server_default = DefaultClause(filler)
            after = change.down.ops.index(table) + 1
            change.down.ops.insert(
                after, ops.ModifyTableOps(table.table_name, [_no_default(table.table_name, column)])
            )


def _filler(column: Column[Any], beside: Iterable[ops.MigrateOperation]) -> Any:
    checks = []
    for op in beside:
        if isinstance(op, _BINDING) and column.name in _columns(op):
            return None
        if isinstance(op, ops.CreateCheckConstraintOp):
            checks.append(str(op.condition))
    if is_ruled(column.name, checks):
        return None
    listed = listed_value(column.name, checks)
    return a_filler(column.type) if listed is None else listed


def _columns(op: ops.MigrateOperation) -> Iterable[str]:
    """Return the columns of which no two rows may be alike, or that must refer to a row."""
    if isinstance(op, ops.CreateForeignKeyOp):
        return op.local_cols
    if isinstance(op, ops.CreateIndexOp):
        return [getattr(column, "name", "") for column in op.to_index().expressions if op.unique]
    return [str(column) for column in cast("ops.CreateUniqueConstraintOp", op).columns]


def _no_default(table: str, column: Column[Any]) -> ops.AlterColumnOp:
    return ops.AlterColumnOp(
        table,
        column.name,
        existing_type=column.type,
        existing_nullable=False,
        existing_server_default=copy(column.server_default),
        modify_server_default=None,
    )


def _modified(container: ops.UpgradeOps | ops.DowngradeOps) -> Iterable[ops.ModifyTableOps]:
    return [one for one in container.ops if isinstance(one, ops.ModifyTableOps)]
