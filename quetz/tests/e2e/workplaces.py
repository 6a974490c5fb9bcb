"""A place to work at as a developer or an administrator would, with the commands of a shell."""

import os
import shutil
import site
import subprocess
import venv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from quetz.tests.architecture.sources import PACKAGE

SECONDS = 300

# Nothing is fetched: all that a plugin needs is there.
_PIP = """\
#!/bin/sh
verb=$1
shift
case $verb in install|wheel) set -- --no-deps --no-build-isolation "$@" ;; esac
exec python -m pip "$verb" "$@"
"""
_MODULE = '#!/bin/sh\nexec python -m {} "$@"\n'
_PROGRAMS = ("quetz", "pytest", "cookiecutter")


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one line of an error."""
        [line] = self.err.splitlines()
        return line


@dataclass(frozen=True)
class Workplace:
    """A folder, and an environment that sees what this one has, and gets plugins of its own."""

    folder: Path
    commands: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, parent: Path, **variables: str) -> "Workplace":
        folder, environment = parent / "work", parent / "environment"
        folder.mkdir()
        venv.create(environment, with_pip=False)
        [packages] = environment.glob("lib/python*/site-packages")
        lines = [f"import site; site.addsitedir({path!r})" for path in site.getsitepackages()]
        (packages / "tests.pth").write_text("\n".join(lines) + "\n")
        commands = environment / "bin"
        programs = {name: _MODULE.format(name) for name in _PROGRAMS} | {"pip": _PIP}
        for name, text in programs.items():
            (commands / name).write_text(text)
            (commands / name).chmod(0o755)
        return cls(folder, commands, variables)

    @classmethod
    def checkout(cls, parent: Path) -> "Workplace":
        """Make one with sources of quetz in its folder, which are those that run."""
        place = cls.make(parent, PYTHONPATH=str(parent / "work"))
        shutil.copytree(PACKAGE, place.folder / "quetz", ignore=shutil.ignore_patterns("tests"))
        return place

    def attempt(self, script: str) -> Ended:
        """Run a script of the shell; nobody answers questions."""
        done = subprocess.run(
            ["sh", "-eu", "-c", script],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def run(self, script: str) -> str:
        """Run a script of the shell, and return what it wrote to standard output."""
        ended = self.attempt(script)
        assert ended.code == 0, f"{script}\n{ended.out}{ended.err}"
        return ended.out

    @property
    def environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTEST", "QUETZ")) or name.startswith("QUETZ_TEST_")
        }
        return {
            **kept,
            "PATH": f"{self.commands}:{os.environ['PATH']}",
            "HOME": str(self.folder.parent),  # where cookiecutter keeps what was answered
            "PYTEST_ADDOPTS": "-W error -p no:schemathesis",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # others take longer to load than tests to run
            # Two texts of one length in one second would be one to Python.
            "PYTHONDONTWRITEBYTECODE": "1",
            **self.variables,
        }
