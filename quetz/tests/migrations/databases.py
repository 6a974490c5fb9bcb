"""What tests see of a database: its rows, its schema, its recorded revisions."""

from pathlib import Path
from typing import Any

from alembic.migration import MigrationContext
from sqlalchemy import Boolean, Column, Engine, Table, insert, inspect, select, text

from quetz.db.base import Base
from quetz.migrations.schemas.fingerprints import fingerprint
from quetz.migrations.trees import load_tree
from quetz.plugins import CORE, Plugins

REVISION = '''\
"""{revision}"""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = {parent!r}
branch_labels = {labels!r}
depends_on = None


def upgrade():
    {upgrade}


def downgrade():
    {downgrade}
'''


def add_revision(
    plugins: Plugins, revision: str, *, upgrade: str = "pass", downgrade: str = "pass"
) -> None:
    """Write a revision on top of the core's head; ``upgrade`` holds statements apart by ``;``."""
    head = head_of(plugins)
    content = REVISION.format(
        revision=revision,
        parent=head,
        labels=None if head else ("quetz",),
        upgrade=upgrade,
        downgrade=downgrade,
    )
    Path(plugins.migrations["quetz"], f"{revision}_test.py").write_text(content)


def head_of(plugins: Plugins) -> str | None:
    return load_tree(plugins).get_current_head()


def revisions_of(plugins: Plugins) -> list[str]:
    """Return the core's revisions, the oldest first."""
    return [script.revision for script in load_tree(plugins).scripts_of(CORE)]


def heads_in(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        return set(MigrationContext.configure(connection).get_current_heads())


def schema_of(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        return fingerprint(connection)


def tables_in(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names())


def run_sql(engine: Engine, *statements: str) -> None:
    with engine.execution_options(write=True).begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def add_a_row_everywhere(engine: Engine) -> None:
    with engine.execution_options(write=True).begin() as connection:
        for table in Base.metadata.sorted_tables:
            connection.execute(insert(table).values(a_row(table)))


def a_row(table: Table) -> dict[str, Any]:
    return {column.name: a_value(column) for column in table.columns}


def a_value(column: Column[Any]) -> Any:
    if isinstance(column.type, Boolean):
        return True
    for reference in column.foreign_keys:
        return a_value(reference.column)
    if column.type.python_type is int:
        return 7
    return column.name[: getattr(column.type, "length", None) or 16]


def all_rows(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    with engine.connect() as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(select(table))), key=str)
            for table in Base.metadata.sorted_tables
        }
