"""MIG-4, 5: what migrations of a million files cost, and what a server does meanwhile."""

import http.client
import json
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from urllib.parse import urlsplit

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from benchmarks.figures import Figure
from benchmarks.migrations.databases import Sqlite, url_of
from benchmarks.records import insert_channel
from quetz.db.engine import open_engine
from quetz.migrations import upgrade
from quetz.migrations.ledger import read_entries
from quetz.plugins import Plugins, load_plugins
from quetz.storage.local import LocalStore
from quetz.testing.servers import running_server

FILES = 1_000_000
CHANNEL = "forge"

STEPS = {
    "a nullable column": ('op.add_column("files", sa.Column("origin", sa.String(100)))', 0.1),
    "a defaulted column": (
        'op.add_column("files", sa.Column("rank", sa.Integer, server_default="0", nullable=False))',
        0.1,
    ),
    "an index": ('op.create_index("ix_files_size", "files", ["size"])', 3.0),
    "a rebuild": (
        (
            'with op.batch_alter_table("files") as batch:\n'
            '        batch.alter_column("version", type_=sa.String(300), existing_nullable=False)'
        ),
        30.0,
    ),
}

REVISION = '''
"""{message}"""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{parent}"
branch_labels = None
depends_on = None


def upgrade():
    {code}


def downgrade():
    raise NotImplementedError
'''


def make_million(folder: Path) -> Path:
    """Make a deployment whose one channel has a million files."""
    deployment = Sqlite().deployment(folder / "million")
    with (deployment / "config.toml").open("a") as config:
        config.write('on_mismatch = "ignore"\n')  # the server lacks the revisions made below
    LocalStore.create(deployment / "store").close()
    engine = open_engine(url_of(deployment))
    upgrade(engine, load_plugins([]))
    with Session(engine.execution_options(write=True)) as session:
        insert_channel(session, CHANNEL, FILES)
        session.commit()
    engine.dispose()
    return deployment


def measure(deployment: Path, folder: Path) -> list[Figure]:
    engine = open_engine(url_of(deployment))
    plugins = _copied(load_plugins([]), folder)
    parent = _head(plugins)
    figures = []
    for number, (what, (code, goal)) in enumerate(STEPS.items()):
        revision = f"d{number:011x}"
        _add(plugins, revision, parent, what, code)
        parent = revision
        traffic = _Traffic(deployment) if what == "a rebuild" else None
        with traffic.at_work() if traffic else nullcontext():
            started = time.monotonic()
            upgrade(engine, plugins)
            total = time.monotonic() - started
        seconds = _seconds_of(engine, revision)
        basis = f"{total:.1f} s with locks, verification and ledger, without backup"
        figures.append(Figure(f"MIG-5 {what} on {FILES:,} files", [seconds], "s", goal, basis))
        if traffic:
            figures += traffic.figures()
    engine.dispose()
    return figures


def _copied(plugins: Plugins, folder: Path) -> Plugins:
    versions = folder / "versions"
    shutil.copytree(plugins.migrations["quetz"], versions)
    return replace(plugins, migrations={"quetz": versions})


def _head(plugins: Plugins) -> str:
    [newest] = Path(plugins.migrations["quetz"]).glob("*.py")
    return newest.name.partition("_")[0]


def _add(plugins: Plugins, revision: str, parent: str, message: str, code: str) -> None:
    source = dedent(REVISION).format(message=message, revision=revision, parent=parent, code=code)
    (plugins.migrations["quetz"] / f"{revision}_step.py").write_text(source.lstrip())


def _seconds_of(engine: Engine, revision: str) -> float:
    with engine.connect() as connection:
        entries = read_entries(connection)
    return next(entry.seconds or 0.0 for entry in entries if entry.revision == revision)


class _Traffic:
    """Reads from a server, and writes, one after another, while its database is rebuilt."""

    def __init__(self, deployment: Path) -> None:
        self._deployment = deployment
        self._over = threading.Event()
        self._reads: list[tuple[int, float]] = []
        self._writes: list[tuple[int, float]] = []

    @contextmanager
    def at_work(self) -> Iterator[None]:
        key = _new_key(self._deployment)
        with running_server(self._deployment) as server:
            threads = [
                threading.Thread(target=self._read, args=(server.url,)),
                threading.Thread(target=self._write, args=(server.url, key)),
            ]
            for thread in threads:
                thread.start()
            try:
                yield
            finally:
                self._over.set()
                for thread in threads:
                    thread.join()

    def _read(self, url: str) -> None:
        while not self._over.is_set():
            answer = _ask(url, "GET", f"/api/channels/{CHANNEL}")
            self._reads.append(answer)
            time.sleep(0.005)

    def _write(self, url: str, key: str) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            body = json.dumps({"name": f"made.{number}", "private": False})
            self._writes.append(_ask(url, "POST", "/api/channels", body, key))

    def figures(self) -> list[Figure]:
        failed = sum(status != 200 for status, _ in self._reads)
        slowest = max(seconds for _, seconds in self._reads)
        writes = Counter(status for status, _ in self._writes)
        waited = max(seconds for _, seconds in self._writes)
        others = sum(count for status, count in writes.items() if status not in {201, 503})
        told = ", ".join(f"{count} x {status}" for status, count in sorted(writes.items()))
        return [
            Figure("MIG-4 reads that failed", [failed], "reads", 0, f"of {len(self._reads)}"),
            Figure("MIG-4 longest read during the rebuild", [slowest], "s", 0.05),
            Figure(
                "MIG-4 writes neither done nor told 503",
                [others],
                "writes",
                0,
                f"{told}; the longest took {waited:.1f} s",
            ),
        ]


def _new_key(deployment: Path) -> str:
    command = [sys.executable, "-m", "quetz", "user", "create", "writer", str(deployment)]
    done = subprocess.run([*command, "--role", "owner"], check=True, capture_output=True, text=True)
    return done.stdout.split()[-1]


def _ask(
    url: str, method: str, path: str, body: str | None = None, key: str = ""
) -> tuple[int, float]:
    """Return the status, 0 if there was no answer, and the seconds it took."""
    started = time.monotonic()
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
    headers = {"Content-Type": "application/json"} | ({"X-API-Key": key} if key else {})
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status, time.monotonic() - started
    except (OSError, http.client.HTTPException):
        return 0, time.monotonic() - started
    finally:
        connection.close()
