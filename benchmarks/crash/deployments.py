"""Deployments on either database."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import URL

from quetz.testing.crashes import create_deployment
from quetz.testing.databases import create_database
from quetz.testing.postgresql import server_folder, server_url

KINDS = ("sqlite", "postgresql")


@contextmanager
def deployed(kind: str, folder: Path) -> Iterator[tuple[Path, str, URL | None]]:
    """Make a deployment below ``folder``; give its path, its owner's key, and its PostgreSQL."""
    path = folder / kind / "deployment"
    path.parent.mkdir()
    if kind == "sqlite":
        yield path, create_deployment(path), None
        return
    with server_folder() as server:
        url = create_database(server_url(server), "deployment")
        path.mkdir()
        text = url.render_as_string(hide_password=False)
        settings = f'[general]\ndev = true\n\n[sqlalchemy]\ndatabase_url = "{text}"\n'
        (path / "config.toml").write_text(settings)
        yield path, create_deployment(path), url
