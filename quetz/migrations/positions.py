"""Where a database stands in the tree of revisions."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import decode_source
from pathlib import Path

from alembic.migration import MigrationContext
from alembic.script import Script
from sqlalchemy import Connection, Engine, NullPool, create_engine, inspect
from sqlalchemy.exc import DBAPIError

from quetz.db.base import Base
from quetz.errors import DatabaseMissing, DatabaseUnreadable
from quetz.errors.migrations import SchemaAhead, SchemaBehind, SchemaUnknown
from quetz.migrations.ledger import Entry, applied_by_ledger, checksum, read_entries
from quetz.migrations.sessions import settle
from quetz.migrations.trees import Tree, load_tree
from quetz.plugins import Plugins


@dataclass(frozen=True)
class Position:
    """What a database records; ``heads`` are the rows of ``alembic_version``."""

    tree: Tree
    heads: frozenset[str]
    applied: frozenset[str]
    entries: Sequence[Entry]

    @property
    def pending(self) -> list[str]:
        """The revisions that are not applied, each after what it needs."""
        return self.tree.missing(self.heads, self.tree.targets())

    def edited(self) -> dict[str, str]:
        """Return the revisions that were changed after they had been applied, with their files."""
        found: dict[str, str] = {}
        for revision, entry in applied_by_ledger(self.entries).items():
            script: Script | None = self.tree.get_revision(revision)
            if script is None or revision in self.tree.orphans:
                continue
            source = decode_source(Path(script.path).read_bytes())  # as the ledger got it
            if checksum(source) != entry.checksum:
                found[revision] = script.path
        return found


def read_position(connection: Connection, plugins: Plugins) -> Position:
    """Read what is applied, and compare it with the revisions there are.

    Raises:
        SchemaUnknown: a revision is on record that neither the tree nor the ledger knows, or none
            is, but tables with names of ours.
        SchemaAhead: quetz, or a plugin in use, is older than what was applied.
    """
    heads = recorded_heads(connection)
    if not heads and (tables := _tables_of_our_names(connection)):
        heads = recorded_heads(connection)  # again: another process may have made them meanwhile
        if not heads:
            raise SchemaUnknown(f"{_named('table', tables)} without a record of migrations")
    entries = read_entries(connection)
    tree = load_tree(plugins, entries)
    if unknown := heads - tree.owners.keys():
        raise SchemaUnknown(_named("revision", unknown))
    applied = tree.applied(heads)
    _refuse_ahead(tree, plugins, applied, entries)
    return Position(tree, frozenset(heads), frozenset(applied), entries)


def warning_of_edited(files: Mapping[str, str]) -> str:
    """Return a sentence about what ``Position.edited`` found."""
    named = ", ".join(f"{revision} in '{file}'" for revision, file in sorted(files.items()))
    return (
        f"Edited after it had been applied: {named}; "
        "put it back as it was, and make a new migration for the change"
    )


def recorded_heads(connection: Connection) -> set[str]:
    return set(MigrationContext.configure(connection).get_current_heads())


def _refuse_ahead(
    tree: Tree, plugins: Plugins, applied: Collection[str], entries: Sequence[Entry]
) -> None:
    """Refuse software that lacks revisions which a newer release of it applied.

    A plugin that is gone, off or broken is no reason: nothing of it will run.
    """
    for owner in plugins.migrations:
        if owner in tree.broken:
            continue
        if newer := {one for one in tree.orphans if tree.owners[one] == owner} & set(applied):
            by_revision = applied_by_ledger(entries)
            messages = {one: by_revision[one].message for one in sorted(newer)}
            versions = {by_revision[one].dist_version for one in newer}
            raise SchemaAhead(owner, messages, versions, plugins.versions.get(owner, ""))


def check_schema(engine: Engine, plugins: Plugins, path: object) -> None:
    """Return if all migrations are applied to the database of the deployment ``path``.

    Raises:
        DatabaseMissing, DatabaseUnreadable: there is none, in its SQLite file.
        SchemaBehind: some are not.
        SchemaUnknown, SchemaAhead: the database is not one of this version.
    """
    file = file_of(engine)
    if file is not None and not file.exists():  # to connect would make it
        raise DatabaseMissing(path, file)
    with looking(engine) as connection:
        if read_position(connection, plugins).pending:
            raise SchemaBehind(path)


def is_in_use(engine: Engine) -> bool:
    """Tell whether there are users, channels or objects, at whatever revision the tables are."""
    with looking(engine) as connection:
        present = set(inspect(connection).get_table_names())
        return any(
            connection.exec_driver_sql(f"SELECT 1 FROM {table} LIMIT 1").first()  # noqa: S608 (our names)
            for table in ("users", "channels", "objects")
            if table in present
        )


@contextmanager
def looking(engine: Engine) -> Iterator[Connection]:
    """Connect without a trace: the engine itself puts a SQLite file into WAL mode.

    Raises:
        DatabaseUnreadable: the SQLite file cannot be opened, or is none.
        NoSchema: PostgreSQL has none for this role.
    """
    file = file_of(engine)
    if file is not None:
        engine = create_engine(engine.url, poolclass=NullPool, hide_parameters=True)
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                settle(connection, local=True)
            yield connection
    except DBAPIError as error:
        if file is None:
            raise
        raise DatabaseUnreadable(file, error.orig) from error


def file_of(engine: Engine) -> Path | None:
    """Return the file of an SQLite database, or None if it is in memory or elsewhere."""
    if engine.dialect.name != "sqlite" or engine.url.database in {None, "", ":memory:"}:
        return None
    return Path(str(engine.url.database))


def _tables_of_our_names(connection: Connection) -> set[str]:
    return Base.metadata.tables.keys() & set(inspect(connection).get_table_names())


def _named(noun: str, names: Collection[str]) -> str:
    """Return ``the revisions 'a', 'b'``."""
    listed = ", ".join(f"'{name}'" for name in sorted(names))
    return f"the {noun}{'s' if len(names) > 1 else ''} {listed}"
