"""``quetz plugin``."""

import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quetz.cli import options

if TYPE_CHECKING:
    from quetz.migrations.status import Status
    from quetz.plugins import Plugins
    from quetz.settings import Settings

commands = typer.Typer(help="Plugins of quetz.", no_args_is_help=True)

_HEADINGS = ("name", "version", "package", "state", "pending", "tables")

# In a process of its own: this one would not see what was installed while it ran.
_REPORT = "import sys; from quetz.cli.plugins import report; report(*sys.argv[1:])"

# Modules in the current folder are not those of the environment: hence -P.
_PYTHON = (sys.executable, "-P")


@dataclass(frozen=True)
class Row:
    """A plugin; ``state`` is ok, broken or off, ``reason`` says why it is broken.

    ``pending`` migrations are None if the plugin is not in use, or the database cannot be read.
    """

    name: str
    version: str
    package: str
    enabled: bool
    tables: Sequence[str]
    pending: int | None
    state: str
    reason: str


@commands.command("list")
def list_plugins(
    path: options.Deployment,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the installed plugins: whether the deployment uses them, their tables and faults."""
    from quetz.cli.redaction import json_of
    from quetz.plugins import load_plugins

    settings = _settings(path)
    used = load_plugins(settings.plugins.enabled)
    status = _look(path, settings, used)
    rows = list(_rows(used, status))
    if not status.owners:
        typer.echo(f"Pending migrations cannot be told: {status.reason}", err=True)
    if as_json:
        typer.echo(json_of([asdict(row) for row in rows], indent=2))
    elif not rows:
        typer.echo("No plugin is installed", err=True)
    else:
        _print_table(rows)


@commands.command()
def install(
    plugins: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME_OR_PATH...", help="Plugins to install.", show_default=False),
    ] = None,
    editable: Annotated[
        list[str] | None,
        typer.Option(
            "--editable", "-e", metavar="PATH", help="Install a working copy in development mode."
        ),
    ] = None,
    deployment: Annotated[
        Path | None,
        typer.Option(
            "--deployment",
            metavar="PATH",
            help="Tell its pending migrations; the current folder if that is a deployment.",
        ),
    ] = None,
) -> None:
    """Install plugins with pip, and print those that are new, or of a new version."""
    import json

    from quetz.deployment import is_deployment
    from quetz.errors import BadOption

    if not plugins and not editable:
        raise BadOption("name a plugin, or a folder that has one")
    if deployment is None and is_deployment(Path()):
        deployment = Path()
    if deployment is not None:
        _settings(deployment)  # whatever is wrong there is told before anything is done
    former = json.dumps(_installed())
    _install(plugins or [], editable or [])
    place = "" if deployment is None else str(deployment)
    wheels = [name for name in plugins or [] if name.endswith(".whl") and Path(name).is_file()]
    told = subprocess.run(  # noqa: S603 (our own)
        [*_PYTHON, "-c", _REPORT, former, place, *wheels], check=False
    )
    if told.returncode:
        raise typer.Exit(told.returncode)


def report(former: str, deployment: str, *wheels: str) -> None:
    """Print which plugins are new since ``former``, and tell what is to be done in a deployment.

    ``former`` has the versions by plugin: ``'{"quetz-foo": "1.0"}'``. Ends with 2 if pip kept
    another build in place of one of the ``wheels``, as it does if their versions are the same.
    """
    import json

    before, now = json.loads(former), _installed()
    kept = [sentence for wheel in wheels if (sentence := _kept(Path(wheel)))]
    if now != before or not kept:
        _report_new(before, now, deployment)
    for sentence in kept:
        typer.echo(f"quetz: {sentence}", err=True)
    if kept:
        raise SystemExit(2)


def _kept(wheel: Path) -> str:
    """Tell what is installed in place of a wheel that was given, or return an empty text."""
    from importlib.metadata import PackageNotFoundError, distribution
    from zipfile import ZipFile

    try:
        found = distribution(wheel.name.partition("-")[0])
    except PackageNotFoundError:
        return ""
    with ZipFile(wheel) as archive:
        modules = [name for name in archive.namelist() if ".dist-info/" not in name]
        files = {Path(str(found.locate_file(name))): archive.read(name) for name in modules}
    if all(file.is_file() and file.read_bytes() == content for file, content in files.items()):
        return ""
    name = found.metadata["Name"]
    return (
        f"{name} {found.version} is installed already and was left as it is; raise its version "
        f"in pyproject.toml and build '{wheel}' again, or first run: "
        f"{sys.executable} -m pip uninstall {name}"
    )


def _report_new(before: Mapping[str, str], now: Mapping[str, str], deployment: str) -> None:
    new = [name for name, version in sorted(now.items()) if version != before.get(name)]
    for name in new:
        typer.echo(f"{name} {now[name]}")
    if not new:
        typer.echo(f"No plugin is new; installed are: {', '.join(sorted(now)) or 'none'}", err=True)
    if deployment:
        _report_deployment(deployment, new)
    else:
        _tell_next("DEPLOYMENT")


def _report_deployment(deployment: str, new: Collection[str]) -> None:
    from quetz.plugins import find_plugins

    settings = _settings(Path(deployment))
    plugins = find_plugins(settings.plugins.enabled)
    for name in new:
        if name not in plugins.versions:
            typer.echo(f"'{name}' is off until [plugins] enabled names it, too", err=True)
    status = _look(Path(deployment), settings, plugins)
    for owner in status.owners:
        if owner.reason:
            typer.echo(f"plugin '{owner.owner}': {owner.reason}", err=True)
        if owner.pending:
            names = ", ".join(owner.pending)
            typer.echo(f"Pending migrations of {owner.owner}: {names}", err=True)
    if status.reason:
        typer.echo(f"Pending migrations cannot be told: {status.reason}", err=True)
    if status.state == "current":
        typer.echo("No migration is pending", err=True)
    else:
        _tell_next(deployment)


def _tell_next(deployment: str) -> None:
    from shlex import quote

    typer.echo(
        f"To bring the tables of plugins into the database, run: quetz init-db {quote(deployment)}",
        err=True,
    )


def _installed() -> dict[str, str]:
    """Return the versions of all plugins, none of which is imported."""
    from quetz.plugins import CORE, find_plugins

    versions = find_plugins([]).versions
    return {name: version for name, version in versions.items() if name != CORE}


def _look(path: Path, settings: "Settings", plugins: "Plugins") -> "Status":
    """Return the state of the database; one that cannot be read has no owners, but a reason."""
    from sqlalchemy.exc import DBAPIError

    from quetz.cli.redaction import redact
    from quetz.deployment import open_database
    from quetz.errors import QuetzError
    from quetz.migrations.status import Status, read_status

    try:
        engine = open_database(path.resolve(), settings)
        try:
            return read_status(engine, plugins)
        finally:
            engine.dispose()
    except QuetzError as error:
        return Status("unknown", reason=str(error))
    except DBAPIError as error:
        said = redact(str(error.orig).partition("\n")[0])
        return Status("unknown", reason=f"the database says: {said}")


def _rows(used: "Plugins", status: "Status") -> Iterator[Row]:
    from quetz.db.base import Base
    from quetz.plugins import CORE, find_plugins

    found = find_plugins([])
    packages = {name: package for package, name in (found.packages | used.packages).items()}
    faults = {name: error.reason for name, error in used.broken.items()}
    faults |= {owner.owner: owner.reason for owner in status.owners if owner.state == "broken"}
    pending = {owner.owner: len(owner.pending) for owner in status.owners}
    tables: dict[str, list[str]] = {}
    for table in sorted(Base.metadata.tables):
        tables.setdefault(used.owner_of_table(table), []).append(table)
    chosen = {*used.packages.values(), *used.broken}
    for name in sorted((found.installed | chosen) - {CORE}):
        yield Row(
            name,
            (found.versions | used.versions).get(name, ""),
            packages.get(name, ""),
            enabled=name in chosen,
            tables=tables.get(name, []),
            pending=pending.get(name) if name in chosen - faults.keys() else None,
            state="broken" if name in faults else "ok" if name in chosen else "off",
            reason=faults.get(name, ""),
        )


def _print_table(rows: Iterable[Row]) -> None:
    """Print aligned columns; what is wrong stands below its plugin."""
    lines: list[Sequence[str]] = [_HEADINGS]
    reasons = [""]
    for row in rows:
        pending = "-" if row.pending is None else str(row.pending)
        tables = ", ".join(row.tables)
        lines.append((row.name, row.version, row.package, row.state, pending, tables))
        reasons.append(row.reason)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line, reason in zip(lines, reasons, strict=True):
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())
        if reason:
            typer.echo(f"  {reason}")


def _install(plugins: Sequence[str], editable: Sequence[str]) -> None:
    """Raises BadOption."""
    from importlib.util import find_spec

    from quetz.errors import BadOption

    if find_spec("pip") is None:
        raise BadOption(
            f"there is no pip in the environment of quetz ({sys.prefix}); install the plugin "
            "there with the tool that installed quetz"
        )
    arguments = [argument for path in editable for argument in ("--editable", path)]
    # Standard output is for results.
    ended = subprocess.run(  # noqa: S603 (what the user asks to install)
        [*_PYTHON, "-m", "pip", "install", *arguments, "--", *map(_as_pip_takes, plugins)],
        check=False,
        stdout=2,
    )
    if ended.returncode:
        # A URL may hold a password or a token.
        names = ["a URL" if "://" in name else f"'{name}'" for name in [*plugins, *editable]]
        raise BadOption(f"pip could not install {', '.join(names)}; its output above says why")


def _as_pip_takes(plugin: str) -> str:
    """Return a folder's whole path: pip takes a bare name for one on its package index."""
    return str(Path(plugin).resolve()) if Path(plugin).is_dir() else plugin


def _settings(path: Path) -> "Settings":
    from quetz.deployment import is_deployment
    from quetz.errors import DeploymentNotFound
    from quetz.settings import load_settings

    if not is_deployment(path):
        raise DeploymentNotFound(path)
    return load_settings(path.resolve())
