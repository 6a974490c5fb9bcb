"""PostgreSQL's client programs for tests, and programs of Python that die or lack room."""

import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import Engine

from quetz.testing.postgresql import client_programs

PROGRAM = """\
import sys
from pathlib import Path
from sqlalchemy import make_url
from quetz.db.engine import open_engine
from quetz.errors import QuetzError
from quetz.migrations.backups import Backups

engine, backups = open_engine(make_url(sys.argv[1])), Backups(Path(sys.argv[2]))
try:
    {body}
except QuetzError as error:
    sys.exit(type(error).__name__ + ": " + str(error))
"""


def fake_programs(folder: Path, **scripts: str) -> Path:
    """Put programs in a folder: ``$real`` in a script is the real one's path."""
    folder.mkdir()
    for name in ("pg_dump", "pg_restore", "psql"):
        real = client_programs() / name
        script = scripts.get(name, 'exec $real "$@"').replace("$real", str(real))
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return folder


def run_apart(
    engine: Engine,
    folder: Path,
    body: str,
    *,
    variables: Mapping[str, str] | None = None,
    largest_file: int = resource.RLIM_INFINITY,
) -> subprocess.CompletedProcess[str]:
    """Run a statement on ``engine`` and ``backups`` in a process of its own."""
    url = engine.url.render_as_string(hide_password=False)
    program = PROGRAM.format(body=body)
    return subprocess.run(
        [sys.executable, "-c", program, url, str(folder)],
        env=os.environ | dict(variables or {}),
        preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY)
        ),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
