"""A database in memory as the migrations make it, to compare the models with.

Neither the state of a deployment nor its kind of database gets into a comparison.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast

from alembic.autogenerate import produce_migrations
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import _repr_type
from alembic.migration import MigrationContext
from alembic.operations.ops import UpgradeOps
from alembic.runtime.migration import MigrationInfo
from alembic.script import Script
from sqlalchemy import Connection, Engine, TypeDecorator, inspect
from sqlalchemy.engine import URL

from quetz.db.base import Base
from quetz.db.engine import open_engine
from quetz.migrations.fingerprints import fingerprint
from quetz.migrations.runs import downgrade, upgrade
from quetz.plugins import Plugins


class Scratch:
    """The scratch database, seen by the owner of some of its tables.

    ``makers`` has the owner and the revision that made each table.
    """

    def __init__(self, engine: Engine, plugins: Plugins, owner: str) -> None:
        self.engine = engine
        self.plugins = plugins
        self.owner = owner
        self.makers: dict[str, tuple[str, str]] = {}

    def upgrade(self) -> None:
        upgrade(self.engine, self.plugins, self._note_tables)

    def downgrade(self, target: str) -> None:
        downgrade(self.engine, self.plugins, target)

    def fingerprint(self) -> set[str]:
        with self.engine.connect() as connection:
            return fingerprint(connection)

    def changes(self) -> UpgradeOps:
        """Return what the owner's models have and the database has not, or the reverse."""
        with self.engine.connect() as connection:
            context = MigrationContext.configure(connection, opts=self.options())
            return cast("UpgradeOps", produce_migrations(context, Base.metadata).upgrade_ops)

    def options(self) -> dict[str, Any]:
        """Return how Alembic has to compare, and write what differs."""
        return {
            "target_metadata": Base.metadata,
            "include_object": self._is_owned,
            "compare_type": True,
            "compare_server_default": True,
            "autogenerate_plugins": [
                "alembic.autogenerate.*",
                "alembic.ext.checkconstraint_byname",
            ],
            "render_item": _render_item,
            "render_as_batch": True,  # SQLite needs it, and PostgreSQL takes it
        }

    def _is_owned(
        self,
        _object: object,
        name: str | None,
        kind: str,
        reflected: bool,  # noqa: FBT001 (Alembic calls it so)
        model: object,
    ) -> bool:
        """Tell whether the comparison may look at a thing; columns and such follow their table."""
        if kind != "table" or name is None:
            return True
        if reflected and model is None:  # no model is left to tell whose it was
            return self.makers[name][0] == self.owner
        return self.plugins.owner_of_table(name) == self.owner

    def _note_tables(self, connection: Connection, step: MigrationInfo) -> None:
        script = cast("Script", step.up_revision)
        folder = Path(script.path).parent
        owner = next(name for name, path in self.plugins.migrations.items() if path == folder)
        for table in inspect(connection).get_table_names():
            self.makers.setdefault(table, (owner, script.revision))


def _render_item(kind: str, thing: Any, context: AutogenContext) -> str | Literal[False]:
    """Write a type of our own, or of a plugin, as the plain type below it: code moves on."""
    if kind == "type" and isinstance(thing, TypeDecorator):
        return _repr_type(thing.impl_instance, context)
    return False


@contextmanager
def scratch_database(plugins: Plugins, owner: str) -> Iterator[Scratch]:
    """Build the database with all migrations there are."""
    engine = open_engine(URL.create("sqlite"))
    try:
        scratch = Scratch(engine, plugins, owner)
        scratch.upgrade()
        yield scratch
    finally:
        engine.dispose()
