"""A place to work at as a developer or an administrator would, with the commands of a shell."""

import json
import os
import shlex
import shutil
import site
import subprocess
import venv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from quetz.tests.architecture.sources import PACKAGE
from quetz.tests.forks import SECONDS, Kind, python_of

# Nothing is fetched: all that a plugin needs is there.
_PIP = """\
#!/bin/sh
verb=$1
shift
case $verb in install|wheel) set -- --no-deps --no-build-isolation "$@" ;; esac
exec python -m pip "$verb" "$@"
"""
_MODULE = '#!/bin/sh\nexec {} -m {} "$@"\n'
_PROGRAMS = ("quetz", "pytest", "cookiecutter")
_FORKED = ("quetz", "pytest")


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
    """A folder, and an environment that sees what this one has, and gets plugins of its own.

    Its commands ``quetz`` and ``pytest`` are forks, which start at once; see ``apart``.
    """

    folder: Path
    commands: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def make(
        cls, parent: Path, variables: Mapping[str, str] | None = None, kind: Kind = Kind.QUETZ
    ) -> "Workplace":
        folder, environment = parent / "work", parent / "environment"
        folder.mkdir()
        venv.create(environment, with_pip=False)
        [packages] = environment.glob("lib/python*/site-packages")
        lines = [f"import site; site.addsitedir({path!r})" for path in site.getsitepackages()]
        (packages / "tests.pth").write_text("\n".join(lines) + "\n")
        commands = environment / "bin"
        place = cls(folder, commands, dict(variables or {}))
        programs = {name: _MODULE.format("python", name) for name in _PROGRAMS}
        place._write_commands(programs | {"pip": _PIP})
        python = shlex.join(python_of(kind, environment))
        place._write_commands({name: _MODULE.format(python, name) for name in _FORKED})
        return place

    @classmethod
    def checkout(cls, parent: Path) -> "Workplace":
        """Make one with sources of quetz in its folder, which are those that run."""
        place = cls.make(parent, {"PYTHONPATH": str(parent / "work")}, Kind.OTHERS)
        shutil.copytree(PACKAGE, place.folder / "quetz", ignore=shutil.ignore_patterns("tests"))
        return place

    def apart(self) -> "Workplace":
        """Let its commands be programs in interpreters of their own, as users have them."""
        self._write_commands({name: _MODULE.format("python", name) for name in _FORKED})
        return self

    def _write_commands(self, texts: Mapping[str, str]) -> None:
        for name, text in texts.items():
            (self.commands / name).write_text(text)
            (self.commands / name).chmod(0o755)

    def install_editable(self, project: Path, name: str, hooks: str) -> None:
        """Leave what ``pip install -e`` leaves of a plugin, which takes a second to do so."""
        [packages] = self.commands.parent.glob("lib/python*/site-packages")
        (packages / f"_{name}.pth").write_text(f"{project}\n")
        record = packages / f"{name.replace('-', '_')}-1.0.dist-info"
        record.mkdir()
        origin = {"dir_info": {"editable": True}, "url": project.as_uri()}
        texts = {
            "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
            "INSTALLER": "pip\n",
            "direct_url.json": json.dumps(origin),
            "entry_points.txt": f"[quetz]\n{name} = {hooks}\n",
        }
        for file, text in texts.items():
            (record / file).write_text(text)

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
