"""Lets Alembic's copy of an SQLite table be as the table was, or refuses it.

Alembic makes the copy of what reflection tells, which is not all.
"""

import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any, TypeVar

from alembic.ddl.sqlite import SQLiteImpl
from alembic.operations.batch import ApplyBatchImpl
from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    Constraint,
    ForeignKeyConstraint,
    Index,
    Table,
    event,
)
from sqlalchemy.schema import CreateTable
from sqlalchemy.types import NullType, String, TypeEngine, UserDefinedType

from quetz.migrations.failures import Unsound
from quetz.migrations.schemas.sqlite_indexes import index_statements
from quetz.migrations.schemas.sqlite_tables import (
    Part,
    Parts,
    definitions,
    has_autoincrement,
    parts,
    references,
    renamed,
)
from quetz.migrations.sqlite.attachments import Attached, attached, bring_back
from quetz.migrations.sqlite.casts import check_values, is_cast

_Kind = TypeVar("_Kind", bound=Constraint)
_SAME = "quetz_unchanged_copy"  # for as long as it is looked at


class _Declared(UserDefinedType[object]):
    """A type that SQLAlchemy does not know, or none."""

    cache_ok = True

    def __init__(self, declared: str) -> None:
        self.declared = declared

    def get_col_spec(self, **_options: object) -> str:
        return self.declared


class _Copying:
    """The copy of one table, from when Alembic knows how it will be until it has its place."""

    def __init__(self, connection: Connection, batch: ApplyBatchImpl, table: Table) -> None:
        self.connection = connection
        self.batch = batch
        self.table = table
        self.names = {
            old.lower(): column.name
            for old, column in batch.columns.items()
            if old.lower() != column.name.lower()
        }
        self.indexes = index_statements(connection, table.name)
        self.attached: Attached = attached(connection)
        for name, column in batch.columns.items():
            if column.computed is not None:
                batch.column_transfers[name].pop("expr")
        self._keep_actions()
        if self.names:
            self._rename_in_expressions()

    def _keep_actions(self) -> None:
        """Let references do as they did: of one beside its column, reflection does not tell."""
        found = defaultdict(list)
        for one in references(self.connection, self.table.name, self.names):
            found[one.part].append(one)
        words = parts(self.connection, self.table.name, self.names)
        for constraint in self._made_of(
            ForeignKeyConstraint, and_unnamed=not self.batch.table_args
        ):
            columns = tuple(column.name.lower() for column in constraint.columns)
            part = Part("foreign key", columns, f" to {constraint.referred_table.name.lower()}")
            if len(found[part]) == 1 and not (constraint.ondelete or constraint.onupdate):
                constraint.ondelete, constraint.onupdate = found[part][0].actions()
                if "True" in words[part]:
                    constraint.deferrable, constraint.initially = True, "DEFERRED"

    def _made_of(self, kind: type[_Kind], *, and_unnamed: bool = False) -> Iterator[_Kind]:
        """Yield the constraints of the copy that were the table's."""
        assert self.batch.new_table is not None
        for constraint in self.batch.new_table.constraints:
            former = self.batch.named_constraints.get(str(constraint.name))
            is_former = and_unnamed if constraint.name is None else former in self.table.constraints
            if isinstance(constraint, kind) and is_former:
                yield constraint

    def _rename_in_expressions(self) -> None:
        """Let conditions and generated columns follow a column to its new name."""
        for constraint in self._made_of(CheckConstraint):
            constraint.sqltext = self._renamed(constraint.sqltext)
        for name, column in self.batch.columns.items():
            if column.computed is not None and name in self.table.columns:
                column.computed.sqltext = self._renamed(column.computed.sqltext)

    def _renamed(self, expression: Any) -> Any:
        """Write an expression of the former table, which reflection gives as a text."""
        written = copy(expression)
        written.text = renamed(expression.text, self.names)
        return written

    def check(self) -> None:
        """Raises Unsound: the copy lacks what Alembic did not see, and so cannot mean to change.

        Or it would have other values.
        """
        check_values(self.connection, self.batch)
        lost = sorted(self._lost()) if self.batch.reflected else []
        if lost:
            raise Unsound(
                f"the copy of table '{self.table.name}' would lose {', '.join(lost)}; "
                "the migration has to copy it by SQL of its own"
            )

    def _lost(self) -> Iterator[str]:
        before = parts(self.connection, self.table.name, self.names)
        after = parts(self.connection, self.batch.temp_table_name)
        same = self._parts_of_same()
        kept = {column.name.lower() for column in self.batch.columns.values()}
        for part, how in before.items():
            is_lost = same.get(part) != how and after.get(part) == same.get(part)
            if is_lost and kept.issuperset(part.columns):
                yield str(part)

    def _parts_of_same(self) -> Parts:
        """Return the parts of a copy that nobody changed."""
        with warnings.catch_warnings():  # they were shown already
            warnings.simplefilter("ignore")
            same = ApplyBatchImpl(self.batch.impl, self.table, (), {}, reflected=True)
            same._transfer_elements_to_new_table()  # noqa: SLF001
        assert same.new_table is not None
        same.new_table.name = _SAME
        self.connection.execute(CreateTable(same.new_table))
        found = parts(self.connection, _SAME, self.names)
        self.connection.exec_driver_sql(f'DROP TABLE "{_SAME}"')
        return found

    def bring_back(self) -> None:
        """Make triggers, and indexes that reflection leaves out, for the copy in its place."""
        own = {
            name: (table, renamed(statement, self.names))
            for name, (table, statement) in self.attached.items()
            if name in self.indexes
        }
        bring_back(self.connection, {**self.attached, **own}, ())

    def remake(self, index: Index) -> bool:
        """Make an index of the former table anew; its order and its condition are in its words."""
        name = str(index.name)
        if index.table is not self.batch.new_table or name in self.batch.new_indexes:
            return False
        self.connection.exec_driver_sql(renamed(self.indexes[name], self.names))
        return True


class KeepingImpl(SQLiteImpl):
    """What Alembic does on SQLite: of its kind, the last that is declared is used."""

    __dialect__ = "sqlite"
    _copying: _Copying | None = None

    def cast_for_batch_migrate(
        self, existing: Column[Any], existing_transfer: dict[str, Any], new_type: TypeEngine[Any]
    ) -> None:
        if is_cast(new_type, self.dialect):
            super().cast_for_batch_migrate(existing, existing_transfer, new_type)

    def prep_table_for_batch(self, batch_impl: ApplyBatchImpl, table: Table) -> None:
        assert self.connection is not None
        self._copying = _Copying(self.connection, batch_impl, table)

    def create_table(self, table: Table, **options: Any) -> None:
        super().create_table(table, **options)
        if self._copying is not None and table is self._copying.batch.new_table:
            self._copying.check()

    def rename_table(self, old_table_name: str, new_table_name: str, schema: Any = None) -> None:
        super().rename_table(old_table_name, new_table_name, schema)
        if self._copying is not None and old_table_name == self._copying.batch.temp_table_name:
            self._copying.bring_back()

    def create_index(self, index: Index, **options: Any) -> None:
        if self._copying is None or not self._copying.remake(index):
            super().create_index(index, **options)


@contextmanager
def reflecting_more(connection: Connection) -> Iterator[None]:
    """Let reflection tell what else a copy can have."""

    def reflected(_inspector: object, table: Table, column: Any) -> None:
        if has_autoincrement(connection, table.name):
            table.dialect_options["sqlite"]["autoincrement"] = True
        words, name = definitions(connection, table.name), column["name"].lower()
        if isinstance(column["type"], String) and (collation := words.collation(name)):
            column["type"].collation = collation
        if column.get("computed"):
            column["computed"]["sqltext"] = words.expression(name)
        query = "SELECT type FROM pragma_table_info(?) WHERE name = ?"
        declared = connection.exec_driver_sql(query, (table.name, column["name"])).scalar()
        if isinstance(column["type"], NullType) or declared == "ANY":
            column["type"] = _Declared(declared or "")

    event.listen(Table, "column_reflect", reflected)
    try:
        yield
    finally:
        event.remove(Table, "column_reflect", reflected)
