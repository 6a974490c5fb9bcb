"""Deployments to break: one is built with a history, and copied for each fault."""

import json
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from anyio.from_thread import start_blocking_portal
from sqlalchemy import Engine, NullPool, create_engine, text
from sqlalchemy.engine import URL
from starlette.testclient import TestClient

from quetz.deployment import STORE_FOLDER, Deployment, open_database
from quetz.errors import QuetzError, Unavailable
from quetz.migrations.status import Status
from quetz.plugins import Plugins
from quetz.services.accounts import create_user
from quetz.services.api_keys import create_api_key
from quetz.services.index_builds import ShardMemory
from quetz.services.permissions import OPERATOR, Role, principal_of
from quetz.services.publishing import list_marked
from quetz.settings import load_settings
from quetz.storage.local import LocalStore
from quetz.testing.databases import DbInit, build_schema, create_database
from quetz.testing.faults import FaultyDatabase, FaultyStore
from quetz.web.app import create_app
from quetz.web.errors import status_of
from quetz.worker.publisher import publish

# What a client can see, and what was recorded of how that came about.
STATE = {
    "channels": "SELECT name, size, packages_count FROM channels",
    "packages": """SELECT c.name, p.name, p.files_count FROM packages p
        JOIN channels c ON c.id = p.channel_id""",
    "files": """SELECT c.name, f.subdir, f.filename, f.sha256, f.yanked_at IS NOT NULL, yank_reason
        FROM files f JOIN channels c ON c.id = f.channel_id""",
    "tombstones": """SELECT c.name, t.subdir, t.filename, t.sha256 FROM tombstones t
        JOIN channels c ON c.id = t.channel_id""",
    "replaced": """SELECT c.name, r.subdir, r.filename, r.sha256 FROM replaced_files r
        JOIN channels c ON c.id = r.channel_id""",
    "events": "SELECT action, channel, subject, before, after FROM events",
}
State = dict[str, Counter[tuple[object, ...]]]


@dataclass(frozen=True)
class Answer:
    """A status of HTTP, also for work beside the requests, and what was said of a refusal."""

    status: int
    reason: str = ""


@dataclass
class World:
    """A deployment with its faulty store and database, and a client of its application."""

    deployment: Deployment
    store: FaultyStore
    database: FaultyDatabase
    client: TestClient
    packages: Path
    memory: ShardMemory = field(default_factory=ShardMemory)
    faults: list[str] = field(default_factory=list)
    """What the server logged of the requests that it could not answer."""

    def ask(self, method: str, path: str, **options: Any) -> Answer:
        self.faults.clear()
        answer = self.client.request(method, path, **options)
        reason = answer.text if answer.status_code >= 400 else ""
        if answer.status_code == 503 and "retry-after" not in answer.headers:
            reason += " (without Retry-After)"
        return Answer(answer.status_code, " ".join([reason, *self.faults]))

    def upload(self, channel: str, filename: str, **query: Any) -> Answer:
        content = (self.packages / filename).read_bytes()
        name = Path(filename).name
        path = f"/api/channels/{channel}/upload/{name}"
        return self.ask("POST", path, content=content, params=query)

    def work(self, job: Any) -> Answer:
        """Do what a server does beside the requests."""
        try:
            job()
        except Unavailable as error:
            return Answer(status_of(error), str(error))
        except QuetzError as error:
            return Answer(status_of(error), repr(error))
        except Exception as error:  # noqa: BLE001  a server would log it and try again
            return Answer(500, repr(error))
        return Answer(200)

    def publish(self) -> Answer:
        return self.work(self._publish)

    def _publish(self) -> None:
        """Publish until nothing is marked, with the memory that a server keeps."""
        while True:
            with self.deployment.transaction() as session:
                marked = list_marked(session)
            if not marked:
                return
            for switch in marked:
                publish(self.deployment, switch, self.memory)

    def state(self) -> State:
        with self.deployment.transaction() as session:
            return {
                name: Counter(tuple(row) for row in session.execute(text(query)))
                for name, query in STATE.items()
            }

    def indexes(self) -> dict[str, Any]:
        """Return the records of every index as clients read them, without the time of indexing."""
        with self.deployment.transaction() as session:
            places = session.execute(
                text(
                    "SELECT DISTINCT c.name, f.subdir FROM files f "
                    "JOIN channels c ON c.id = f.channel_id"
                )
            ).all()
        return {
            f"{channel}/{subdir}": _timeless(
                self.client.get(f"/get/{channel}/{subdir}/repodata.json").json()
            )
            for channel, subdir in places
        }


def _timeless(document: dict[str, Any]) -> dict[str, Any]:
    for family in ("packages", "packages.conda"):
        for record in document.get(family, {}).values():
            record.pop("indexed_timestamp", None)
    return document


class _Listener(logging.Handler):
    def __init__(self, told: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._told = told

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self._told.append(repr(record.exc_info[1]))


@dataclass(frozen=True)
class Template:
    """A deployment that nobody has open; ``url`` is None for an SQLite file in its folder.

    Its copies have one place, one after the other, and one engine, which remembers how statements
    are compiled.
    """

    folder: Path
    url: URL | None
    key: str
    packages: Path
    plugins: Plugins
    status: Status

    @contextmanager
    def world(self) -> Iterator[World]:
        """Open a copy of it, which is gone afterwards."""
        folder = self.folder.with_name(f"{self.folder.name}_copy")
        copy = self._copied(folder)
        try:
            with copy.open(self._engine) as world:
                yield world
        finally:
            copy.remove()

    @cached_property
    def _engine(self) -> Engine:
        folder = self.folder.with_name(f"{self.folder.name}_copy")
        return open_database(folder, load_settings(folder))

    @contextmanager
    def open(self, engine: Engine | None = None) -> Iterator[World]:
        """Open it itself."""
        settings = load_settings(self.folder)
        engine = engine or open_database(self.folder, settings)
        deployment = Deployment.on(self.folder, settings, engine, self.plugins, self.status)
        store = FaultyStore(deployment.store)
        deployment.store = store
        told: list[str] = []
        client = TestClient(
            create_app(deployment), headers={"X-API-Key": self.key}, raise_server_exceptions=False
        )
        try:
            with (
                _listening(told),
                start_blocking_portal() as client.portal,
                FaultyDatabase(engine) as database,
            ):
                yield World(deployment, store, database, client, self.packages, faults=told)
        finally:
            deployment.close()

    def changed(self, name: str, steps: Sequence[Callable[[World], object]]) -> "Template":
        """Make another template, in which some more has happened."""
        template = self._copied(self.folder.with_name(name))
        with template.open() as world:
            for step in steps:
                step(world)
        return template

    def remove(self) -> None:
        shutil.rmtree(self.folder)
        if self.url is not None:
            drop_database(self.url)

    def _copied(self, folder: Path) -> "Template":
        shutil.copytree(self.folder, folder)
        url = None
        if self.url is not None:
            name = str(self.url.database)
            copy = f"{name.partition('-')[0]}-{folder.name}"
            url = create_database(self.url, copy, f'TEMPLATE "{name}" STRATEGY FILE_COPY')
            write_config(folder, url)
        return replace(self, folder=folder, url=url)


@contextmanager
def _listening(told: list[str]) -> Iterator[None]:
    log, listener = logging.getLogger("quetz.web"), _Listener(told)
    log.addHandler(listener)
    try:
        yield
    finally:
        log.removeHandler(listener)


def drop_database(url: URL) -> None:
    engine = create_engine(
        url.set(database="postgres"), poolclass=NullPool, isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.execute(text(f'DROP DATABASE IF EXISTS "{url.database}" WITH (FORCE)'))


def write_config(folder: Path, url: URL) -> None:
    shown = json.dumps(url.render_as_string(hide_password=False))
    (folder / "config.toml").write_text(f"[sqlalchemy]\ndatabase_url = {shown}\n")


def make_template(folder: Path, server: URL | None, packages: Path) -> Template:
    """Make a deployment that has an owner and nothing else, on SQLite or on a server."""
    folder.mkdir(parents=True)
    LocalStore.create(folder / STORE_FOLDER).close()
    url = None
    if server is None:
        write_config(folder, URL.create("sqlite", database="quetz.sqlite"))
        file = URL.create("sqlite", database=str(folder / "quetz.sqlite"))
        build_schema(file, DbInit.CREATE_TABLES)
    else:
        url = create_database(server, f"{server.database}-{folder.name}")
        build_schema(url, DbInit.CREATE_TABLES)
        write_config(folder, url)
    deployment = Deployment.open(folder)
    with deployment.transaction(write=True) as session:
        user = create_user(session, OPERATOR, "owner", role=Role.OWNER)
        made = create_api_key(
            session, principal_of(user), user, description="", expires_at=None, scopes=None
        )
    known = (deployment.plugins, deployment.schema.status)
    deployment.close()
    return Template(folder, url, made.key, packages, *known)
