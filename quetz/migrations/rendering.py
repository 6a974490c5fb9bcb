"""Writes operations as Python that runs on SQLite and on PostgreSQL, whichever was compared."""

import re
from copy import copy
from dataclasses import dataclass
from typing import Any, Literal, cast

from alembic.autogenerate import render_python_code, renderers
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import _repr_type
from alembic.migration import MigrationContext
from alembic.operations import ops
from sqlalchemy import (
    Boolean,
    DefaultClause,
    Enum,
    False_,
    True_,
    TypeDecorator,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine
from sqlalchemy.util import immutabledict

from quetz.migrations.comparators import NOW, without_casts
from quetz.migrations.portability import CastColumnOp, Change

_DIALECT_TYPE = re.compile(r"(?<![\w.'\"])(postgresql|sqlite)\.[A-Z]")
_LITERAL = re.compile(r"'(?:[^']|'')*'|-?[\d.]+")


@dataclass(frozen=True)
class Code:
    """The bodies of the two functions of a revision, and the lines of import that they need."""

    upgrade: str
    downgrade: str
    imports: list[str]


def render(change: Change, context: MigrationContext) -> Code:
    def written(container: ops.UpgradeOps | ops.DowngradeOps) -> str:
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
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    kind = cast("TypeEngine[Any]", op.modify_type).compile(dialect=dialect)
    column = dialect.identifier_preparer.quote(op.column_name)
    plain = renderers.dispatch(ops.AlterColumnOp)(context, op)
    return f"{plain[:-1]}, postgresql_using={f'CAST({column} AS {kind})'!r})"


def _render_item(kind: str, thing: Any, context: AutogenContext) -> str | Literal[False]:
    if kind == "type":
        return _render_type(thing, context)
    if kind == "server_default" and isinstance(thing, DefaultClause):
        return _default(thing, context)
    return False


def _render_type(kind: TypeEngine[Any], context: AutogenContext) -> str | Literal[False]:
    if variants := kind._variant_mapping:  # noqa: SLF001
        plain = copy(kind)
        plain._variant_mapping = immutabledict()  # noqa: SLF001
        others = (
            f".with_variant({_repr_type(variant, context)}, {name!r})"
            for name, variant in variants.items()
        )
        return _repr_type(plain, context) + "".join(others)
    if isinstance(kind, TypeDecorator):
        # The plain type below one of our own, or of a plugin: code moves on.
        return _repr_type(kind.impl_instance, context)
    if isinstance(kind, Enum) and not kind.native_enum:
        return f"sa.String(length={kind.length})"
    if isinstance(kind, Boolean):
        return "sa.Boolean()"  # the CHECK that it may have stands by itself
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
    kwargs = {"literal_binds": True, "include_table": False}
    text = without_casts(str(arg.compile(dialect=context.dialect, compile_kwargs=kwargs)))
    if text.strip("()").lower() in NOW:
        return "sa.func.now()"
    is_whole = _LITERAL.fullmatch(text) or (text.startswith("(") and text.endswith(")"))
    return f"sa.text({text if is_whole else f'({text})'!r})"
