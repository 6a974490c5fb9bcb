"""Other releases of quetz: copies of its package that get revisions of their own."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from quetz.plugins import load_plugins
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
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "quetz", *map(str, arguments)],
            cwd=self.folder,  # from where its quetz is imported
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
