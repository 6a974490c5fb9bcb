"""Deployments on each kind of database, for the goals of this campaign."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from benchmarks.crash.postmasters import Postmaster
from quetz.testing.crashes import Driver, create_deployment
from quetz.testing.crashes.driver import database_of
from quetz.testing.databases import create_database
from quetz.testing.postgresql import client_programs, server_folder, server_url

DATABASES = ("sqlite", "postgresql")


@contextmanager
def deployed(backend: str, folder: Path) -> Iterator[Driver]:
    """Create a deployment in a new folder, and drive it; PostgreSQL gets a server of its own."""
    folder.mkdir()
    with ExitStack() as stack:
        url = ""
        if backend == "postgresql":
            server = server_url(stack.enter_context(server_folder()))
            url = create_database(server, "crash").render_as_string(hide_password=False)
            os.environ["PATH"] = (
                f"{client_programs()}:{os.environ['PATH']}"  # of pg_dump and its like
            )
        key = create_deployment(folder / "deployment", url)
        yield Driver(folder / "deployment", key, folder / "scratch")


def postmaster_of(driver: Driver) -> Postmaster:
    """Return the server that a deployment's database is on."""
    url = database_of(driver.path).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
        row = connection.execute("SHOW data_directory").fetchone()
    assert row is not None
    return Postmaster(Path(row[0]))
