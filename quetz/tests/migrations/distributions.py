"""Plugins as installed distributions in a folder, and programs that see them.

Programs, since what a plugin imports stays in its process: its tables would be in every test.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

from quetz.tests.forks import SECONDS, run_in_fork

START = """\
import json
from quetz.errors import QuetzError
from quetz.plugins import load_plugins

def program():
{body}

try:
    answer = {{"returned": program()}}
except QuetzError as error:
    answer = {{"raised": type(error).__name__, "message": str(error)}}
print(json.dumps(answer, default=str))
"""

# Two texts of one length in one second would be one to Python.
UNCACHED = {"PYTHONDONTWRITEBYTECODE": "1"}


class Refused(Exception):
    """A program ended with one of our errors; the text is its class and its message."""


@dataclass(frozen=True)
class Site:
    """A folder where distributions are installed."""

    folder: Path

    def install(
        self, name: str, files: Mapping[str, str], points: Mapping[str, str] | None = None
    ) -> None:
        """Install a plugin; ``points`` maps entry point groups to modules.

        Without ``points`` it has one: its module ``hooks``, in group ``quetz``.
        """
        package = name.replace("-", "_")
        for file, content in {"__init__.py": "", "hooks.py": "", **files}.items():
            path = self.folder / package / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(content))
        record = self.folder / f"{package}-1.0.dist-info"
        record.mkdir(exist_ok=True)
        (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        groups = points or {"quetz": f"{package}.hooks"}
        lines = [f"[{group}]\n{name} = {module}\n" for group, module in groups.items()]
        (record / "entry_points.txt").write_text("\n".join(lines))

    def run(self, body: str) -> Any:
        """Run the body of a function, and return what it returns, by way of JSON.

        Raises:
            Refused: it raised one of our errors.
        """
        ended = self._run("-c", START.format(body=indent(dedent(body), "    ")))
        assert ended.returncode == 0, ended.stderr
        answer = json.loads(ended.stdout)
        if "raised" in answer:
            raise Refused(f"{answer['raised']}: {answer['message']}")
        return answer["returned"]

    def command(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run the command ``quetz``."""
        return self._run("-m", "quetz", *map(str, arguments))

    def command_apart(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run the command in an interpreter of its own, as a user would."""
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "quetz", *map(str, arguments)],
            env=os.environ | {"PYTHONPATH": str(self.folder)} | UNCACHED,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run_in_fork(list(arguments), self.folder, os.environ | UNCACHED)
