"""``quetz plugin``."""

import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quetz.cli import options

if TYPE_CHECKING:
    from quetz.settings import Settings

commands = typer.Typer(help="Plugins of quetz.", no_args_is_help=True)

_HEADINGS = ("name", "version", "package", "state", "tables")

# In a process of its own: this one would not see what was installed while it ran.
_PRINT_PENDING = (
    "import sys; from quetz.cli.plugins import print_pending; print_pending(sys.argv[1])"
)


@dataclass(frozen=True)
class Row:
    """A plugin; ``state`` is ok, broken or off, ``reason`` says why it is broken."""

    name: str
    version: str
    package: str
    enabled: bool
    tables: Sequence[str]
    state: str
    reason: str


@commands.command("list")
def list_plugins(
    path: options.Deployment,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the installed plugins: whether the deployment uses them, their tables and faults."""
    import json

    rows = list(_rows(_settings(path).plugins.enabled))
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], indent=2))
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
        list[Path] | None,
        typer.Option(
            "--editable", "-e", metavar="PATH", help="Install a working copy in development mode."
        ),
    ] = None,
    deployment: Annotated[
        Path | None,
        typer.Option(
            "--deployment",
            metavar="PATH",
            help="List its pending migrations; the current folder if that is a deployment.",
        ),
    ] = None,
) -> None:
    """Install plugins with pip, and list the migrations that are pending then."""
    from shlex import quote

    from quetz.deployment import is_deployment
    from quetz.errors import BadOption, DeploymentNotFound

    if not plugins and not editable:
        raise BadOption("name a plugin, or a folder that has one")
    if deployment is None and is_deployment(Path()):
        deployment = Path()
    if deployment is not None and not is_deployment(deployment):
        raise DeploymentNotFound(deployment)
    _install(plugins or [], editable or [])
    shown = "DEPLOYMENT"
    if deployment is not None:
        shown = quote(str(deployment))
        subprocess.run(  # noqa: S603 (our own program)
            [sys.executable, "-c", _PRINT_PENDING, str(deployment)], check=False
        )
    typer.echo(f"Migrate the database now: quetz init-db {shown}", err=True)


def print_pending(path: str) -> None:
    """Print the owner and the id of each migration that is pending."""
    from quetz.deployment import open_database
    from quetz.errors import QuetzError
    from quetz.migrations.status import read_status
    from quetz.plugins import find_plugins

    try:
        settings = _settings(Path(path))
        engine = open_database(Path(path).resolve(), settings)
        status = read_status(engine, find_plugins(settings.plugins.enabled))
    except QuetzError as error:
        typer.echo(f"Pending migrations cannot be told: {error}", err=True)
        return
    engine.dispose()
    for owner in status.owners:
        for revision in owner.pending:
            typer.echo(f"{owner.owner} {revision}")
    if status.reason:
        typer.echo(status.reason, err=True)
    elif not status.pending:
        typer.echo("No migration is pending", err=True)


def _rows(enabled: Sequence[str]) -> Iterator[Row]:
    from quetz.db.base import Base
    from quetz.plugins import CORE, find_plugins, load_plugins

    found, used = find_plugins([]), load_plugins(enabled)
    packages = {name: package for package, name in (found.packages | used.packages).items()}
    tables: dict[str, list[str]] = {}
    for table in sorted(Base.metadata.tables):
        tables.setdefault(used.owner_of_table(table), []).append(table)
    chosen = {*used.packages.values(), *used.broken}
    for name in sorted((found.installed | chosen) - {CORE}):
        error = used.broken.get(name)
        yield Row(
            name,
            (found.versions | used.versions).get(name, ""),
            packages.get(name, ""),
            enabled=name in chosen,
            tables=tables.get(name, []),
            state="broken" if error else "ok" if name in chosen else "off",
            reason=error.reason if error else "",
        )


def _print_table(rows: Iterable[Row]) -> None:
    """Print aligned columns; what is wrong stands below its plugin."""
    lines: list[Sequence[str]] = [_HEADINGS]
    reasons = [""]
    for row in rows:
        lines.append((row.name, row.version, row.package, row.state, ", ".join(row.tables)))
        reasons.append(row.reason)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line, reason in zip(lines, reasons, strict=True):
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())
        if reason:
            typer.echo(f"  {reason}")


def _install(plugins: Sequence[str], editable: Sequence[Path]) -> None:
    """Raises BadOption, PluginError."""
    from importlib.util import find_spec

    from quetz.errors import BadOption, PluginError

    if find_spec("pip") is None:
        raise BadOption(
            f"there is no pip in the environment of quetz ({sys.prefix}); install the plugin "
            "there with the tool that installed quetz"
        )
    arguments = [argument for path in editable for argument in ("--editable", str(path))]
    # Standard output is for results.
    ended = subprocess.run(  # noqa: S603 (what the user asks to install)
        [sys.executable, "-m", "pip", "install", *arguments, "--", *map(_as_pip_takes, plugins)],
        check=False,
        stdout=2,
    )
    if ended.returncode:
        names = ", ".join([*plugins, *map(str, editable)])
        raise PluginError(names, "pip could not install it; its output above says why")


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
