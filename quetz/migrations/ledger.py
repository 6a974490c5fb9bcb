"""The ledger: who applied which revision when, written in the transaction of the revision itself.

The engine makes its table, as Alembic makes ``alembic_version``: it belongs to no model and no
revision, and rows are only added, or finished. Where both tables tell of the same thing, they
cannot disagree, since one commit writes both.
"""

import ast
import getpass
import hashlib
import json
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Float,
    MetaData,
    String,
    Table,
    Text,
    insert,
    inspect,
    select,
    update,
)

from quetz.db.base import ByteOrdered, Milliseconds, RowId, now_ms

LEDGER = Table(
    "quetz_migration_log",
    MetaData(),
    Column("id", RowId, primary_key=True),
    Column("run_id", String(36), nullable=False),
    Column("owner", ByteOrdered, nullable=False),
    Column("dist_version", Text, nullable=False),
    Column("revision", ByteOrdered, nullable=False),
    Column("down_revision", Text, nullable=False),
    Column("depends_on", Text, nullable=False),
    Column("labels", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("direction", String(8), nullable=False),
    Column("state", String(8), nullable=False),
    Column("checksum", String(64), nullable=False),
    Column("script_source", Text, nullable=False),  # to be read by people, never run
    Column("app_version", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", RowId, nullable=False),
    Column("started_at", Milliseconds, nullable=False),
    Column("seconds", Float, nullable=True),
    Column("rows", RowId, nullable=True),
    Column("backup", Text, nullable=False),
    Column("tables_created", Text, nullable=False),
    Column("tables_dropped", Text, nullable=False),
)

_LISTS = ("down_revision", "depends_on", "labels", "tables_created", "tables_dropped")


@dataclass(frozen=True)
class Entry:
    """One revision that was applied, or taken back.

    ``direction`` is up or down. ``state`` is running (only outside a transaction), done, failed,
    or baseline: found applied before there was a ledger. ``rows`` counts those that its
    statements wrote. ``script_source`` is written, and not read back.
    """

    run_id: str
    owner: str
    dist_version: str
    revision: str
    down_revision: tuple[str, ...]
    depends_on: tuple[str, ...]
    labels: tuple[str, ...]
    message: str
    direction: str
    state: str
    checksum: str
    app_version: str
    actor: str
    host: str
    pid: int
    started_at: int
    script_source: str = ""
    seconds: float | None = None
    rows: int | None = None
    backup: str = ""
    tables_created: tuple[str, ...] = ()
    tables_dropped: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return it for JSON, without the source."""
        return {name: value for name, value in asdict(self).items() if name != "script_source"}


def has_ledger(connection: Connection) -> bool:
    return inspect(connection).has_table(LEDGER.name)


def ensure_ledger(connection: Connection) -> None:
    LEDGER.metadata.create_all(connection)


def read_entries(connection: Connection) -> list[Entry]:
    """Return all entries but their sources, the oldest first; none if there is no ledger."""
    if not has_ledger(connection):
        return []
    names = [field.name for field in fields(Entry) if field.name != "script_source"]
    columns = [LEDGER.c[name] for name in names]
    return [
        Entry(**{name: _read(name, value) for name, value in zip(names, row, strict=True)})
        for row in connection.execute(select(*columns).order_by(LEDGER.c.id))
    ]


def write_entries(connection: Connection, entries: Iterable[Entry]) -> None:
    if rows := [_row(entry) for entry in entries]:
        connection.execute(insert(LEDGER), rows)


def finish_running(
    connection: Connection, entry: Entry | None = None, run_id: str | None = None
) -> None:
    """Put what became of a revision in place of the entry that says it runs.

    Without ``entry`` that revision failed, perhaps because its process was killed: that nobody
    else migrates is for the lock to say, not for an entry. ``run_id`` is of the only run that it
    may be of.
    """
    running = update(LEDGER).where(LEDGER.c.state == "running")
    if run_id is not None:
        running = running.where(LEDGER.c.run_id == run_id)
    values = {"state": "failed"} if entry is None else _row(entry)
    found = connection.execute(running.values(values)).rowcount
    if entry is not None and not found:  # somebody took the process for dead
        write_entries(connection, [entry])


def applied_by_ledger(entries: Sequence[Entry]) -> dict[str, Entry]:
    """Return the entries of the revisions that are applied, by revision."""
    applied: dict[str, Entry] = {}
    for entry in entries:
        if entry.state in {"done", "baseline"}:
            if entry.direction == "up":
                applied[entry.revision] = entry
            else:
                applied.pop(entry.revision, None)
    return applied


def owners_of_tables(entries: Sequence[Entry]) -> dict[str, tuple[str, str]]:
    """Return owner and revision that made each table: ``{"quetz_foo": ("quetz-foo", "91c2")}``."""
    makers: dict[str, tuple[str, str]] = {}
    for entry in entries:
        if entry.state == "done":
            for table in entry.tables_dropped:
                makers.pop(table, None)
            for table in entry.tables_created:
                makers[table] = (entry.owner, entry.revision)
    return makers


@lru_cache
def checksum(source: str) -> str:
    """Return the sha256 of what a script does.

    Comments, formatting and what it says that it ``loses`` do not count.
    """
    tree = ast.parse(source)
    if ast.get_docstring(tree) is not None:
        del tree.body[0]
    tree.body = [statement for statement in tree.body if not _says_losses(statement)]
    return hashlib.sha256("\n".join(_canonical(tree)).encode()).hexdigest()


def _says_losses(statement: ast.stmt) -> bool:
    targets = getattr(statement, "targets", [getattr(statement, "target", None)])
    return [getattr(target, "id", None) for target in targets] == ["loses"]


def _canonical(node: object) -> Iterator[str]:
    """Yield the parts of a syntax tree, alike for all versions of Python.

    ``ast.dump`` is not: each version adds fields, or leaves out others.
    """
    if isinstance(node, ast.AST):
        yield type(node).__name__
        for name, value in ast.iter_fields(node):
            if value not in (None, []) and name not in {"ctx", "kind", "type_ignores"}:
                yield f".{name}"
                yield from _canonical(value)
        yield "end"
    elif isinstance(node, list):
        for item in node:
            yield from _canonical(item)
        yield "end"
    else:
        yield repr(node)


@dataclass(frozen=True)
class Signature:
    """Who writes an entry."""

    run_id: str
    app_version: str
    actor: str
    host: str
    pid: int

    @classmethod
    def of_this_process(cls, run_id: str, app_version: str) -> "Signature":
        try:
            actor = getpass.getuser()
        except (OSError, KeyError):  # a container's user may have no name
            actor = str(os.getuid())
        return cls(run_id, app_version, actor, socket.gethostname(), os.getpid())

    def sign(self, **values: Any) -> Entry:
        return Entry(**asdict(self), **{"started_at": now_ms(), **values})


def _row(entry: Entry) -> dict[str, Any]:
    row = asdict(entry)
    return row | {name: json.dumps(row[name]) for name in _LISTS}


def _read(name: str, value: Any) -> Any:
    return tuple(json.loads(value)) if name in _LISTS else value
