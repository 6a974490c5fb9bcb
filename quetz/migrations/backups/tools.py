"""PostgreSQL's client programs: which there are, how they reach the server, what they say."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from psycopg import pq
from sqlalchemy import Engine

from quetz.errors.migrations import BackupToolMissing

_MISSING = "pg_dump is not on PATH; install the client programs of PostgreSQL{version}"
_TOO_OLD = (
    "the server is PostgreSQL {server}, and pg_dump on PATH ('{tool}') is of version {version}; "
    "install the client programs of PostgreSQL {server} or newer"
)


class ToolFailed(Exception):
    """A client program ended with an error."""


@dataclass(frozen=True)
class Tools:
    """Programs of one release, with the variables that let them reach one server."""

    folder: Path
    version: int
    environment: dict[str, str]

    def command(self, name: str, *arguments: str) -> list[str]:
        return [str(self.folder / name), *arguments]

    def run(
        self, name: str, *arguments: str, given: str | None = None, output: IO[bytes] | None = None
    ) -> str:
        """Return what the program prints, or let it write that to ``output``.

        Raises:
            ToolFailed: its first complaint.
        """
        ended = subprocess.run(  # noqa: S603 (no shell)
            self.command(name, *arguments),
            env=self.environment,
            input=None if given is None else given.encode(),
            stdin=subprocess.DEVNULL if given is None else None,
            stdout=output or subprocess.PIPE,
            stderr=subprocess.PIPE,
            check=False,
        )
        if ended.returncode != 0:
            raise ToolFailed(complaint(name, ended.returncode, ended.stderr))
        return (ended.stdout or b"").decode(errors="replace")


def find_tools(engine: Engine | None = None, server: int = 0) -> Tools:
    """Return the newest on PATH; with ``engine`` they reach its server, of version ``server``.

    Raises:
        BackupToolMissing: there are none, or they are older than the server.
    """
    environment = dict(os.environ) if engine is None else reaching(engine)
    found = [
        Tools(Path(tool).parent, _version(tool, environment), environment)
        for folder in os.get_exec_path()
        if (tool := shutil.which("pg_dump", path=folder))
    ]
    if not found:
        version = f" {server} or newer" if server else ""
        raise BackupToolMissing(_MISSING.format(version=version))
    newest = max(found, key=lambda tools: tools.version)
    if newest.version < server:
        raise BackupToolMissing(
            _TOO_OLD.format(server=server, tool=newest.folder / "pg_dump", version=newest.version)
        )
    return newest


def reaching(engine: Engine) -> dict[str, str]:
    """Return the environment of a program that connects as the engine does.

    Arguments would show the password to everybody on the machine.
    """
    _, given = engine.dialect.create_connect_args(engine.url)
    names = {
        option.keyword.decode(): option.envvar.decode()
        for option in pq.Conninfo.get_defaults()
        if option.envvar
    }
    # A service of the environment would go before the variables, as it does not in a URL.
    environment = {name: value for name, value in os.environ.items() if name != "PGSERVICE"}
    return environment | {names[key]: str(value) for key, value in given.items() if key in names}


def complaint(name: str, status: int, errors: bytes) -> str:
    """Return one line of what a program said; the first error is the cause of the others."""
    lines = errors.decode(errors="replace").splitlines()
    wrong = [line for line in lines if re.search(r"error|fatal", line, re.IGNORECASE)]
    first: Sequence[str] = wrong[:1] or lines[-1:] or [f"it ended with status {status}"]
    return first[0] if first[0].startswith(name) else f"{name}: {first[0]}"


def _version(tool: str, environment: dict[str, str]) -> int:
    """Return the major version; 0 if it cannot be told."""
    ended = subprocess.run(  # noqa: S603 (no shell)
        [tool, "--version"], env=environment, capture_output=True, text=True, check=False
    )
    number = re.search(r"\d+", ended.stdout)
    return int(number.group()) if number else 0
