"""Writes operations as Python that runs on SQLite and on PostgreSQL, whichever was compared."""

import re
from copy import copy
from dataclasses import dataclass
from typing import Any, Literal, cast

import sqlalchemy
from alembic.autogenerate import render_python_code, renderers
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import _repr_type
from alembic.ddl.sqlite import SQLiteImpl
from alembic.migration import MigrationContext
from alembic.operations import ops
from sqlalchemy import (
    Boolean,
    ClauseElement,
    Connection,
    DefaultClause,
    Dialect,
    Enum,
    False_,
    Interval,
    True_,
    TypeDecorator,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import TypeEngine
from sqlalchemy.util import immutabledict

from quetz.migrations.authoring.portability import POSTGRESQL, SQLITE, CastColumnOp, Change
from quetz.migrations.schemas.comparators import NOW, without_casts
from quetz.migrations.schemas.expressions import escaped, sql_of

_DIALECT_TYPE = re.compile(r"(?<![\w.'\"])(postgresql|sqlite)\.[A-Z]")
_LITERAL = re.compile(r"'(?:[^']|'')*'|-?[\d.]+")


@dataclass(frozen=True)
class Code:
    """The bodies of the two functions of a revision, and the lines of import that they need."""

    upgrade: str
    downgrade: str
    imports: list[str]


class _Writing(SQLiteImpl):
    """Writes conditions as ``text`` reads them, by which all of Alembic goes."""

    def render_ddl_sql_expr(
        self,
        expr: ClauseElement,
        is_server_default: bool = False,  # noqa: FBT001, FBT002 (Alembic passes it so)
        **options: Any,
    ) -> str:
        sql = super().render_ddl_sql_expr(expr, is_server_default, **options)
        # What an index is of is written as a column, which knows no parameters.
        return sql if options.get("is_index") else escaped(sql)


def render(change: Change, connection: Connection) -> Code:
    """Write a change, for which the connection has to be to SQLite."""
    context = MigrationContext.configure(connection)
    context.impl = _Writing(
        connection.dialect,
        connection,
        as_sql=False,
        transactional_ddl=None,
        output_buffer=None,
        context_opts={},
    )

    def written(container: ops.UpgradeOps | ops.DowngradeOps) -> str:
        if container.is_empty():
            return ""  # the template says what is to be written
        return render_python_code(
            cast("ops.UpgradeOps", container),
            render_as_batch=True,  # SQLite needs it, and PostgreSQL takes it
            render_item=_render_item,
            migration_context=context,
        )

    code = written(change.up), written(change.down)
    dialects = {name for text in code for name in _DIALECT_TYPE.findall(text)}
    return Code(*code, [f"from sqlalchemy.dialects import {name}" for name in sorted(dialects)])


@renderers.dispatch_for(CastColumnOp)
def _render_cast(context: AutogenContext, op: CastColumnOp) -> str:
    kind = cast("TypeEngine[Any]", op.modify_type).compile(dialect=POSTGRESQL)
    column = POSTGRESQL.identifier_preparer.quote(op.column_name)
    plain = renderers.dispatch(ops.AlterColumnOp)(context, op)
    return f"{plain[:-1]}, postgresql_using={f'CAST({column} AS {kind})'!r})"


def _render_item(kind: str, thing: Any, context: AutogenContext) -> str | Literal[False]:
    if kind == "type":
        return _render_type(thing, context)
    if kind == "server_default" and isinstance(thing, DefaultClause):
        return _default(thing, context)
    return False


def _render_type(kind: TypeEngine[Any], context: AutogenContext) -> str | Literal[False]:
    """Write what a type really is on each database, without code of ours or of a plugin."""
    if not kind._variant_mapping and not _is_ours(kind):  # noqa: SLF001
        return _render_plain(kind, context)
    kinds = {dialect.name: _stored(kind, dialect) for dialect in (SQLITE, POSTGRESQL)}
    first, other = kinds.values()
    if first.compile(POSTGRESQL) == other.compile(POSTGRESQL):
        return _repr_type(first, context)
    if "sqlite" in kind._variant_mapping:  # noqa: SLF001
        kinds = dict(reversed(kinds.items()))
    (_, usual), (name, variant) = kinds.items()
    return f"{_repr_type(usual, context)}.with_variant({_repr_type(variant, context)}, {name!r})"


def _is_ours(kind: TypeEngine[Any]) -> bool:
    """Tell whether it is a type on top of another; SQLAlchemy's own stay as they are."""
    return isinstance(kind, TypeDecorator) and not isinstance(kind, Interval)


def _stored(kind: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    kind = kind._variant_mapping.get(dialect.name, kind)  # noqa: SLF001
    if _is_ours(kind):
        return _stored(cast("TypeDecorator[Any]", kind).load_dialect_impl(dialect), dialect)
    plain = copy(_public(kind))
    plain._variant_mapping = immutabledict()  # noqa: SLF001
    return plain


def _public(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return it as the type that has a name for others, where it is one of a driver."""
    places = (sqlalchemy, postgresql, sqlite)
    known = (
        each
        for each in type(kind).__mro__
        if any(getattr(place, each.__name__, None) is each for place in places)
    )
    public = next(known, type(kind))
    return kind if public is type(kind) else kind.adapt(public)


def _render_plain(kind: TypeEngine[Any], context: AutogenContext) -> str | Literal[False]:
    if isinstance(kind, Enum) and not kind.native_enum:
        return f"sa.String(length={kind.length})"
    if isinstance(kind, Boolean):
        return "sa.Boolean()"  # the CHECK that it may have stands by itself
    if isinstance(kind, Interval):  # its repr does not tell
        options = {"native": (kind.native, True), "second_precision": (kind.second_precision, None)}
        told = (f"{name}={here}" for name, (here, usual) in options.items() if here != usual)
        return f"sa.Interval({', '.join(told)})"
    if type(kind).__module__.startswith(postgresql.__name__):
        return MigrationContext.configure(dialect_name="postgresql").impl.render_type(kind, context)
    return False


def _default(default: DefaultClause, context: AutogenContext) -> str:
    """Alembic would write it in the words of the database at hand: 0 for false, ``now()``."""
    arg = cast("Any", default.arg)
    if isinstance(arg, str):
        return repr(arg)
    if isinstance(arg, True_ | False_):
        return "sa.true()" if isinstance(arg, True_) else "sa.false()"
    assert context.dialect is not None
    text = without_casts(sql_of(arg, context.dialect))
    if text.strip("()").lower() in NOW:
        return "sa.func.now()"
    is_whole = _LITERAL.fullmatch(text) or (text.startswith("(") and text.endswith(")"))
    return f"sa.text({escaped(text if is_whole else f'({text})')!r})"
