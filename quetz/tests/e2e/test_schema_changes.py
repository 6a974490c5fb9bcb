"""Real servers while somebody migrates their database, from before their start to their stop."""

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import Engine

from quetz.db.engine import open_engine
from quetz.testing.servers import Server, ServerFailed, running_server
from quetz.tests.migrations.databases import heads_in, run_sql
from quetz.tests.migrations.distributions import Site

LOGGED_SECONDS = 60
on_sqlite = pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
REFUSING = "the database was migrated under this server, which takes no changes now"
REVISION = '''\
"""first revision"""

import sqlalchemy as sa
from alembic import op

revision = "f00f00f00f00"
down_revision = None
branch_labels = ("quetz-foo",)
depends_on = None


def upgrade():
    op.create_table("quetz_foo", sa.Column("id", sa.Integer, primary_key=True))


def downgrade():
    op.drop_table("quetz_foo")
'''


@pytest.fixture
def site(tmp_path) -> Site:
    """A folder of plugins that commands see, and servers only if a test says so."""
    return Site(tmp_path / "site")


@pytest.fixture
def path(tmp_path, site, empty_database_url) -> Path:
    """A deployment, without plugins."""
    folder = tmp_path / "deployment"
    folder.mkdir()
    url = empty_database_url.render_as_string(hide_password=False)
    (folder / "config.toml").write_text(f"[sqlalchemy]\ndatabase_url = '{url}'\n")
    assert site.command("create", folder).returncode == 0
    return folder


@pytest.fixture
def engine(empty_database_url) -> Iterator[Engine]:
    engine = open_engine(empty_database_url)
    yield engine
    engine.dispose()


def install_plugin(site: Site) -> None:
    site.install(
        "quetz-foo", {"migrations/__init__.py": "", "migrations/versions/f00.py": REVISION}
    )


def init_db(site: Site, path: Path) -> None:
    ended = site.command("init-db", path)
    assert ended.returncode == 0, ended.stderr


def set_mismatch(path: Path, answer: str) -> None:
    with (path / "config.toml").open("a") as config:
        config.write(f"on_mismatch = '{answer}'\n")  # of [sqlalchemy], the last section


@contextmanager
def connected(server: Server) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)
    try:
        yield connection
    finally:
        connection.close()


def ask(server: Server, method: str, target: str, key: str, body: Any = None) -> tuple[int, Any]:
    with connected(server) as connection:
        connection.request(method, target, body and json.dumps(body), {"X-API-Key": key})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")


def comes_true(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not (outcome := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return outcome


def offer_gigabyte(server: Server, key: str) -> bytes:
    """Announce an upload, send nothing of its body, and return the head of the answer."""
    parts = urlsplit(server.url)
    with socket.create_connection((str(parts.hostname), int(parts.port or 0)), 30) as client:
        client.sendall(
            b"POST /api/channels/forge/upload/a-1-0.conda HTTP/1.1\r\nHost: x\r\n"
            + f"X-API-Key: {key}\r\nContent-Length: {2**30}\r\n\r\n".encode()
        )
        return client.recv(4096)


def test_a_server_whose_database_is_migrated_reads_on_and_writes_no_more(path, site, engine):
    key = site.command("user", "create", "erin", path, "--role", "owner").stdout.strip()
    before = heads_in(engine)
    forge, other = ({"name": name, "private": False} for name in ("forge", "other"))

    def writes() -> int:
        return ask(server, "POST", "/api/channels", key, other)[0]

    with running_server(path) as server:
        created, _ = ask(server, "POST", "/api/channels", key, forge)
        install_plugin(site)
        init_db(site, path)
        # No request makes it look: the process that publishes and the one that answers notice
        # by themselves, each in its own time.
        noticed = comes_true(lambda: server.log.read_text().count(REFUSING) == 2, LOGGED_SECONDS)
        refused, problem = ask(server, "POST", "/api/channels", key, other)
        upload = offer_gigabyte(server, key)
        read, channel = ask(server, "GET", "/api/channels/forge", key)
        ready, readiness = ask(server, "GET", "/health/ready", key)
        put_back(engine, before)
        serves_again = comes_true(lambda: writes() == 201, LOGGED_SECONDS)

    assert (created, noticed, refused, read, ready) == (201, True, 503, 200, 503)
    assert "the database was migrated while this server ran" in problem["detail"]
    assert upload.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: " in upload.lower()
    assert channel["name"] == "forge"
    assert readiness["schema"] == {"state": "changed", "pending": 0}
    assert serves_again
    assert "Traceback" not in server.log.read_text()


def put_back(engine: Engine, heads: set[str]) -> None:
    inserts = [f"INSERT INTO alembic_version VALUES ('{head}')" for head in heads]
    run_sql(engine, "DELETE FROM alembic_version", *inserts)


def test_a_server_whose_database_was_migrated_ends_well(path, site):
    key = site.command("user", "create", "erin", path, "--role", "owner").stdout.strip()

    with running_server(path) as server:
        install_plugin(site)
        init_db(site, path)
        # Looks, and leaves a tally of the key to be written at the end.
        ready, _ = ask(server, "GET", "/health/ready", key)

    assert ready == 503
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("state", ["behind", "ahead"])
def test_a_database_that_does_not_fit_is_refused(path, site, state):
    install_plugin(site)
    if state == "ahead":
        init_db(site, path)
        (site.folder / "quetz_foo" / "migrations" / "versions" / "f00.py").unlink()

    ended = site.command("user", "create", "erin", path)

    sentence = {
        "behind": f"needs migrations first; run: quetz init-db {path}\n",
        "ahead": "the database was left untouched\n",
    }
    assert ended.returncode == {"behind": 3, "ahead": 6}[state]
    assert ended.stderr.endswith(sentence[state])


def test_a_server_can_wait_for_whoever_migrates(path, site, monkeypatch):
    install_plugin(site)
    set_mismatch(path, "wait")
    monkeypatch.setenv("PYTHONPATH", str(site.folder))
    log = path.with_name("deployment.log")

    def waits() -> bool:
        return log.exists() and "waiting for somebody to apply them" in log.read_text()

    # In this order: a server ends with the thread that started it.
    with ThreadPoolExecutor() as pool, ExitStack() as stack:
        starting = pool.submit(stack.enter_context, running_server(path))
        waited = comes_true(waits, LOGGED_SECONDS)
        init_db(site, path)
        ready, readiness = ask(starting.result(), "GET", "/health/ready", "")

    assert (waited, ready) == (True, 200)
    assert readiness["plugins"] == {"quetz-foo": "ok"}


def test_servers_that_start_together_migrate_once(path, site, engine, monkeypatch):
    install_plugin(site)
    set_mismatch(path, "migrate")
    monkeypatch.setenv("PYTHONPATH", str(site.folder))

    # In this order: a server ends with the thread that started it.
    with ThreadPoolExecutor() as pool, ExitStack() as stack:
        starting = [pool.submit(stack.enter_context, running_server(path)) for _ in range(2)]
        answers = [ask(start.result(), "GET", "/health/ready", "") for start in starting]

    with engine.connect() as connection:
        applied = connection.exec_driver_sql(
            "SELECT revision FROM quetz_migration_log WHERE revision = 'f00f00f00f00'"
        ).scalars()
        assert list(applied) == ["f00f00f00f00"]
    assert [status for status, _ in answers] == [200] * 2


def break_plugin(site: Site) -> None:
    site.install("quetz-foo", {"hooks.py": "import no_such_module"})


@on_sqlite
def test_a_broken_plugin_that_nobody_named_is_left_out(path, site, monkeypatch):
    break_plugin(site)
    monkeypatch.setenv("PYTHONPATH", str(site.folder))

    with running_server(path) as server:
        ready, readiness = ask(server, "GET", "/health/ready", "")

    assert (ready, readiness["plugins"]) == (200, {"quetz-foo": "broken"})
    assert "no_such_module" not in json.dumps(readiness)
    assert "plugin 'quetz-foo'" in server.log.read_text()


@on_sqlite
def test_a_broken_plugin_that_is_enabled_by_name_keeps_the_server_from_starting(
    path, site, monkeypatch
):
    break_plugin(site)
    monkeypatch.setenv("PYTHONPATH", str(site.folder))
    monkeypatch.setenv("QUETZ_PLUGINS_ENABLED", "foo")

    with pytest.raises(ServerFailed, match="quetz: plugin 'quetz-foo': cannot import"):
        running_server(path).__enter__()
