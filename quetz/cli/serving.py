"""``quetz start`` and ``quetz run``."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from quetz.cli import options
from quetz.cli.deployments import create_deployment, print_key
from quetz.errors import BadOption

commands = typer.Typer()

HOST = "127.0.0.1"
PORT = 8000


@commands.command()
def start(
    path: options.Deployment = Path(),
    host: options.Host = HOST,
    port: options.Port = PORT,
    workers: options.Workers = 1,
    root_path: options.RootPath = "",
    proxy_headers: options.ProxyHeaders = True,
    log_level: options.Level = None,
    reload: options.Reload = False,
    supervisor: options.Supervisor = True,  # noqa: ARG001  # taken so that old scripts go on
) -> None:
    """Serve a deployment until SIGTERM or Ctrl-C; requests under way are finished then."""
    from quetz.cli.server import Serving

    Serving(path, host, port, workers, root_path, proxy_headers, log_level, reload).run()


@commands.command()
def run(
    path: options.Deployment,
    copy_conf: options.CopyConf = None,
    create_conf: options.CreateConf = False,
    delete: options.Delete = False,
    skip_if_exists: Annotated[
        bool,
        typer.Option(
            "--skip-if-exists/--no-skip-if-exists", help="Start a deployment that exists."
        ),
    ] = False,
    dev: options.Dev = False,
    host: options.Host = HOST,
    port: options.Port = PORT,
    workers: options.Workers = 1,
    root_path: options.RootPath = "",
    proxy_headers: options.ProxyHeaders = True,
    log_level: options.Level = None,
    reload: options.Reload = False,
) -> None:
    """Create a deployment and serve it.

    With --dev and --skip-if-exists each start prints a new API key of alice.
    """
    from quetz.cli.server import Serving

    if delete and skip_if_exists:
        raise BadOption("--delete and --skip-if-exists contradict each other; choose one")
    created = create_deployment(path, copy_conf, create_conf, delete, keep=skip_if_exists, dev=dev)
    if dev and not created and (key := _new_dev_key(path)):
        print_key(key)
    Serving(path, host, port, workers, root_path, proxy_headers, log_level, reload).run(tour=True)


def _new_dev_key(path: Path) -> str | None:
    from quetz.cli.dev_users import add_dev_users
    from quetz.deployment import Deployment

    with closing(Deployment.open(path)) as deployment:
        return add_dev_users(deployment)
