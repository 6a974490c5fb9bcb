"""Other releases of quetz: copies of its package that get revisions of their own."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from quetz.plugins import load_plugins
from quetz.tests.forks import Kind, run_in_fork
from quetz.tests.migrations.databases import add_revision


@dataclass(frozen=True)
class Release:
    """A copy of quetz that may get more revisions."""

    folder: Path

    def add(self, revision: str, upgrade: str) -> Path:
        plugins = load_plugins([])
        versions = plugins.migrations["quetz"] = self.folder / "quetz/migrations/versions"
        add_revision(plugins, revision, upgrade=upgrade)
        return versions / f"{revision}_test.py"

    def command(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        # Its quetz is imported from the folder.
        return run_in_fork(
            ["-m", "quetz", *map(str, arguments)],
            self.folder,
            os.environ,
            self.folder,
            kind=Kind.OTHERS,
        )
