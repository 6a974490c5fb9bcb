"""Arguments and options that several commands share."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from quetz.services.operations import Role


def at_most(length: int) -> Callable[[str | None], str | None]:
    """Return the check that a text has no more characters, as the HTTP API asks it, too."""

    def check(text: str | None) -> str | None:
        if text is not None and len(text) > length:
            raise typer.BadParameter(f"it has {len(text):,} characters; write {length:,} at most")
        return text

    return check


Deployment = Annotated[Path, typer.Argument(metavar="PATH", help="The deployment's folder.")]

# Of commands that work in a deployment without a server

InFolder = Annotated[
    Path | None,
    typer.Argument(metavar="PATH", help="The deployment's folder; the current one if left out."),
]
ByOption = Annotated[
    Path | None, typer.Option("--deployment", metavar="PATH", help="The same as PATH; one of them.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


Query = Annotated[str, typer.Option("--query", metavar="TEXT", help="Only names that hold TEXT.")]
Username = Annotated[str, typer.Argument(metavar="USER", help="The user's name.")]
GivenRole = Annotated[
    Role, typer.Argument(metavar="ROLE", help="The role: owner, maintainer or member.")
]

# Of create and run

CopyConf = Annotated[
    Path | None,
    typer.Option(
        "--copy-conf",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="Copy FILE as config.toml.",
    ),
]
CreateConf = Annotated[
    bool,
    typer.Option(
        "--create-conf/--no-create-conf",
        help="Write a new config.toml, which is also done where there is none.",
    ),
]
Delete = Annotated[
    bool, typer.Option("--delete/--no-delete", help="Replace an existing deployment.")
]
Dev = Annotated[
    bool,
    typer.Option(
        "--dev/--no-dev",
        help="To try things out: users alice, bob, carol and dave, login without a password, "
        "and an API key of alice, the server's owner.",
    ),
]

# Of start and run


class LogLevel(StrEnum):
    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    DEBUG = "debug"
    TRACE = "trace"


Host = Annotated[str, typer.Option("--host", help="The address to listen on.")]
Port = Annotated[int, typer.Option("--port", min=1, max=65535, help="The port to listen on.")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Server processes.")]
RootPath = Annotated[
    str,
    typer.Option("--root-path", metavar="PREFIX", help="Serve below this path, such as /conda."),
]
ProxyHeaders = Annotated[
    bool,
    typer.Option(
        "--proxy-headers/--no-proxy-headers",
        help="Believe X-Forwarded-For and -Proto of the proxies in \\[proxy] trusted_hosts.",
    ),
]
Level = Annotated[
    LogLevel | None,
    typer.Option(
        "--log-level",
        help="The least severe messages to log; \\[logging] level by default. Requests are "
        "logged from info on.",
    ),
]
Reload = Annotated[
    bool,
    typer.Option("--reload/--no-reload", help="Start workers anew when the server's code changes."),
]
# Of upstream's, whose supervisor is a process of its own; here it has no effect.
Supervisor = Annotated[bool, typer.Option("--supervisor/--no-supervisor", hidden=True)]
