"""Databases of the campaign: made once, cloned for each attempt, and described whole."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from alembic.migration import MigrationContext
from sqlalchemy import Connection, NullPool, create_engine, inspect, text
from sqlalchemy.engine import URL

from quetz.migrations.ledger import LEDGER
from quetz.migrations.schemas.fingerprints import fingerprint
from quetz.testing.databases import create_database
from quetz.testing.postgresql import server_folder, server_url


@dataclass(frozen=True)
class State:
    """A database as it can be told apart from others: schema, rows, revisions."""

    schema: frozenset[str]
    rows: str
    heads: frozenset[str]


class Databases(Protocol):
    """Makes databases of one kind; each is a deployment's, in a folder of its own."""

    kind: str

    def deployment(self, folder: Path, template: Path | None = None) -> Path:
        """Make a deployment with an empty database, or with a clone of that of ``template``."""


def url_of(deployment: Path) -> URL:
    parts = json.loads((deployment / "url.json").read_text())
    return URL.create(**parts)


def state_of(deployment: Path) -> State:
    with connected(deployment) as connection:
        heads = MigrationContext.configure(connection).get_current_heads()
        return State(frozenset(fingerprint(connection)), _hash_rows(connection), frozenset(heads))


def applied_once(deployment: Path) -> bool:
    """Tell whether the ledger has each revision that was applied exactly once."""
    query = f"SELECT revision, count(*) FROM {LEDGER.name} WHERE state = 'done' GROUP BY revision"
    with connected(deployment) as connection:
        return all(count == 1 for _, count in connection.exec_driver_sql(query))


@contextmanager
def connected(deployment: Path) -> Iterator[Connection]:
    engine = create_engine(url_of(deployment), poolclass=NullPool)
    with engine.begin() as connection:
        yield connection


def _hash_rows(connection: Connection) -> str:
    """Hash all rows whatever their order, but not the ledger, which tells times."""
    lines = []
    for table in sorted(inspect(connection).get_table_names()):
        if table not in {LEDGER.name, "alembic_version"}:
            rows = connection.execute(text(f'SELECT * FROM "{table}"')).mappings()
            lines += [
                f"{table} {json.dumps(dict(sorted(row.items())), default=str)}" for row in rows
            ]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def _configure(deployment: Path, url: URL) -> None:
    shown = json.dumps(url.render_as_string(hide_password=False))
    (deployment / "config.toml").write_text(f"[sqlalchemy]\ndatabase_url = {shown}\n")
    parts = {name: value for name, value in url._asdict().items() if value is not None}
    parts["query"] = dict(url.query)
    (deployment / "url.json").write_text(json.dumps(parts))


class Sqlite:
    kind = "SQLite"

    def deployment(self, folder: Path, template: Path | None = None) -> Path:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()
        file = folder / "quetz.sqlite"
        if template is not None:
            shutil.copyfile(template / "quetz.sqlite", file)
        _configure(folder, URL.create("sqlite", database=str(file)))
        return folder


class Postgresql:
    kind = "PostgreSQL"

    def __init__(self, server: URL) -> None:
        self._server = server
        self._admin = create_engine(server, poolclass=NullPool, isolation_level="AUTOCOMMIT")

    def deployment(self, folder: Path, template: Path | None = None) -> Path:
        options = "" if template is None else f'TEMPLATE "{url_of(template).database}"'
        with self._admin.connect() as connection:
            # WITH (FORCE): what was killed may still be connected for a moment.
            connection.execute(text(f'DROP DATABASE IF EXISTS "{folder.name}" WITH (FORCE)'))
        folder.mkdir(exist_ok=True)
        _configure(folder, create_database(self._server, folder.name, options))
        return folder


@contextmanager
def both_kinds() -> Iterator[list[Databases]]:
    """Start a PostgreSQL server for the campaign."""
    with server_folder() as folder:
        yield [Sqlite(), Postgresql(server_url(folder))]
