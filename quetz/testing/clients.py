"""Run real conda clients against a server, each as a process with a home folder of its own.

How each one is run:

- **py-rattler**, **py-rattler-build** and **conda** by the programs in
  `quetz.testing.client_programs`.
- conda is the 24.7 inside conda-lock, whose wheel names none of the packages that it needs to
  install: tqdm, conda-package-handling, archspec, jsonpatch (without which conda never asks for
  ``repodata.json.zst``) and a SAT solver, for which python-sat stands in for pycosat.
- **quetz-client** as its own command, or in the process of the test: it is plain `requests`.

No client sees the variables, the home or the caches of who runs the tests, and none reaches beyond
this machine: the proxy that they are told to use for other hosts is a closed port.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CLIENT_SECONDS = 120
_NOWHERE = "http://127.0.0.1:9"

_CONDARC = """\
channels: []
default_channels: []
solver: classic
sat_solver: pysat
report_errors: false  # conda would send its crash reports to its makers
notify_outdated_conda: false
"""


class ClientFailed(Exception):
    """A client ended with another exit code than 0; ``output`` is all it wrote."""

    def __init__(self, command: Sequence[str], code: int, output: str) -> None:
        super().__init__(f"{' '.join(command)} ended with exit code {code}:\n{output}")
        self.output = output


@dataclass(frozen=True)
class ClientHome:
    """Where a client keeps its caches and credentials; two homes share nothing.

    ``patience`` is how many seconds a command may take.
    """

    folder: Path
    patience: float = CLIENT_SECONDS

    def store_credentials(self, credentials: Mapping[str, Any]) -> None:
        """Write what rattler clients send to this machine, by the names rattler gives it.

        ``{"BearerToken": key}``, ``{"BasicHTTP": {"username": ..., "password": ...}}`` or
        ``{"CondaToken": key}``. The host is named without a port.
        """
        self._auth_file.write_text(json.dumps({"127.0.0.1": credentials}))

    def run(
        self, command: Sequence[str], *, stdin: str = "", variables: Mapping[str, str] | None = None
    ) -> str:
        """Run a command to its end and give what it wrote to standard output.

        Raises:
            ClientFailed: it failed, which a test of a refusal waits for.
        """
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**self._environment(), **(variables or {})},
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            timeout=self.patience,
            check=False,
        )
        if done.returncode != 0:
            raise ClientFailed(command, done.returncode, done.stdout + done.stderr)
        return done.stdout

    @property
    def _auth_file(self) -> Path:
        return self.folder / "credentials.json"

    def _environment(self) -> dict[str, str]:
        environment = {
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "RATTLER_CACHE_DIR": str(self.folder / "rattler"),
            "http_proxy": _NOWHERE,
            "https_proxy": _NOWHERE,
            "no_proxy": "127.0.0.1",
        }
        if self._auth_file.exists():
            environment["RATTLER_AUTH_FILE"] = str(self._auth_file)
        return environment


def solve_with_rattler(
    home: ClientHome,
    channel: str,
    *specs: str,
    form: str = "shards",
    platform: str = "linux-64",
    indexed_before: float | None = None,
    prefix: Path | None = None,
) -> dict[str, dict[str, Any]]:
    """Solve ``specs`` from the channel's URL, and install the solution when given a ``prefix``.

    ``form`` is the only index form the client may ask for: ``shards``, ``zst`` or ``json``.
    With ``indexed_before``, in Unix seconds, only what the server had indexed by then counts
    (CEP 47). Gives each record by its package's name, with its ``url``.
    """
    request = {
        "channel": channel,
        "specs": specs,
        "platforms": [platform, "noarch"],
        "form": form,
        "indexed_before": indexed_before,
        "prefix": prefix and str(prefix),
    }
    records = _run_program(home, "with_rattler", {"solve": request})
    return {record["name"]: record for record in records}


def peek_with_rattler(home: ClientHome, package_url: str, path: str) -> tuple[str, str]:
    """Read one file of a package's ``info`` part without installing it.

    Gives how rattler read the package, such as ``sparse`` for ranges of it, and the file.
    """
    how, text = _run_program(home, "with_rattler", {"peek": {"url": package_url, "path": path}})
    return how, text


def build_with_rattler_build(
    home: ClientHome, recipe: str, *channels: str, sharded: bool = True
) -> Path:
    """Build a recipe, with its dependencies from ``channels`` alone, and give the package."""
    build = {
        "recipe": recipe,
        "channels": channels,
        "sharded": sharded,
        "output": str(home.folder / "built"),
    }
    [package] = _run_program(home, "with_rattler_build", {"build": build})
    return Path(package)


def upload_with_rattler_build(
    home: ClientHome, url: str, channel: str, packages: Iterable[Path], *, api_key: str | None
) -> None:
    """Upload in quetz's dialect; without an ``api_key``, with the ``CondaToken`` stored at home."""
    upload = {
        "package_files": [str(package) for package in packages],
        "url": url,
        "channels": channel,
        "api_key": api_key,
    }
    _run_program(home, "with_rattler_build", {"upload": upload})


def create_with_conda(
    home: ClientHome, prefix: Path, channel: str, *specs: str, zst: bool = True
) -> list[dict[str, Any]]:
    """Make an environment from the channel's URL, and give the packages that conda linked.

    With ``zst`` conda asks for `repodata.json.zst` first, otherwise for `repodata.json` alone.
    """
    condarc = home.folder / "condarc"
    condarc.write_text(f"{_CONDARC}repodata_use_zst: {str(zst).lower()}\n")
    variables = {
        "CONDARC": str(condarc),
        "CONDA_PKGS_DIRS": str(home.folder / "conda" / "pkgs"),
        "CONDA_ENVS_DIRS": str(home.folder / "conda" / "envs"),
        "CONDA_ROOT_PREFIX": str(home.folder / "conda"),
        "CONDA_SUBDIR": "linux-64",
    }
    command = [*_program("with_conda"), "create", "--yes", "--json", "--override-channels"]
    command += ["--prefix", str(prefix), "--channel", channel, *specs]
    answer = json.loads(home.run(command, variables=variables))
    linked: list[dict[str, Any]] = answer["actions"]["LINK"]
    return linked


def run_quetz_client(home: ClientHome, url: str, api_key: str, *arguments: str) -> str:
    """Run quetz-client's command line, such as ``yield_channels``."""
    program = "from quetz_client.cli import main; main()"
    variables = {"QUETZ_SERVER_URL": url, "QUETZ_API_KEY": api_key}
    return home.run([sys.executable, "-c", program, *arguments], variables=variables)


def _run_program(home: ClientHome, name: str, request: dict[str, Any]) -> list[Any]:
    records: list[Any] = json.loads(home.run(_program(name), stdin=json.dumps(request)))
    return records


def _program(name: str) -> list[str]:
    # -I: from the installed packages only, whatever the working folder holds.
    return [sys.executable, "-I", "-m", f"quetz.testing.client_programs.{name}"]
