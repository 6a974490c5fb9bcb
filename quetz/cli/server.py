"""Check that a deployment can be served, and serve it."""

import importlib.util
import ipaddress
import multiprocessing
import os
import re
import resource
import signal
import socket
import sys
from contextlib import closing
from dataclasses import dataclass
from errno import EADDRINUSE
from pathlib import Path
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

import quetz
from quetz.cli.greeting import greet_when_ready
from quetz.cli.locks import serving
from quetz.cli.logs import log_config
from quetz.cli.options import LogLevel
from quetz.crashpoints import crashpoint
from quetz.deployment import Deployment
from quetz.errors import BadConfig, BadOption, PortTaken
from quetz.services.background import running
from quetz.settings import Settings
from quetz.worker.background import background_of

# Connections, idle ones included; each takes a file descriptor.
MAX_CONNECTIONS = 20_000
MAX_OPEN_FILES = 65_536
# Also how long an idle connection is kept, and how long half a header holds up a stop.
HEADER_MILLISECONDS = 10_000
STOP_SECONDS = 30


@dataclass(frozen=True)
class Serving:
    path: Path
    host: str
    port: int
    workers: int
    root_path: str
    proxy_headers: bool
    log_level: LogLevel | None
    reload: bool

    def run(self, *, tour: bool = False) -> None:
        """Serve until SIGTERM or SIGINT; with ``tour`` say how to use the server.

        Raises:
            DeploymentNotFound, BadConfig, SchemaBehind, SchemaUnknown: as Deployment.open.
            BadOption: the server cannot listen there, or not with these options.
            PortTaken: another server listens there.
            PluginError: a plugin has a route that the server could not answer.
            DeploymentBusy: it is being replaced or deleted.
        """
        path = self.path.resolve()
        with serving(path):
            self._serve(path, tour=tour or sys.stdout.isatty())

    def _serve(self, path: Path, *, tour: bool) -> None:
        root_path = _normal_root_path(self.root_path)
        self._check_reload()
        with closing(Deployment.open(path)) as deployment:
            settings = deployment.settings
            _check_routes(deployment)
            _check_frontend(deployment)
            address = _resolve(self.host, self.port)
            _check_exposure(settings, address)
            _check_port(address, self.port)
            level = self.log_level.upper() if self.log_level else settings.logging.level
            server = self._server(address, level, _log_file(path, settings))
            self._pass_on(path, root_path, settings)
            crashpoint("start.opened")
            _raise_open_files()
            greet_when_ready(path, address, self.port, root_path, tour=tour)
            # Workers must start afresh: threads and locks of this process would be dead in a fork.
            multiprocessing.set_start_method("spawn", force=True)
            with running(background_of(deployment)):
                server.serve()
                _obey_signals()

    def _check_reload(self) -> None:
        if self.reload and importlib.util.find_spec("watchfiles") is None:
            raise BadOption("--reload needs the package watchfiles: pip install watchfiles")

    def _server(self, address: str, level: str, log_file: Path | None) -> Any:
        verbose = level in ("DEBUG", "TRACE")
        return Granian(
            "quetz.asgi:create",
            factory=True,
            address=address,
            port=self.port,
            workers=self.workers,
            interface=Interfaces.ASGI,
            # Over HTTP/2 a refusal before the body is lost, and uploads are slower.
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(header_read_timeout=HEADER_MILLISECONDS),
            websockets=False,
            backlog=2048,
            backpressure=MAX_CONNECTIONS,
            workers_kill_timeout=STOP_SECONDS,
            respawn_failed_workers=True,
            reload=self.reload,
            reload_paths=[Path(quetz.__file__).parent],
            log_dictconfig=log_config(level, log_file),
            # At info granian logs a line for each chunk that a gone client does not get.
            log_level=LogLevels.info if verbose else LogLevels.warning,
        )

    def _pass_on(self, path: Path, root_path: str, settings: Settings) -> None:
        """Tell the workers what ``quetz.asgi`` has to know; they inherit the environment."""
        trusted = settings.proxy.trusted_hosts if self.proxy_headers else ()
        os.environ["QUETZ_MASTER_PID"] = str(os.getpid())
        os.environ["QUETZ_DEPLOYMENT"] = str(path)
        os.environ["QUETZ_ROOT_PATH"] = root_path
        os.environ["QUETZ_TRUSTED_PROXIES"] = ",".join(trusted)


def _obey_signals() -> None:
    """Let a second signal end it at once: the handlers of the web server do nothing any more."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _check_routes(deployment: Deployment) -> None:
    if deployment.plugins.implements("routers"):
        from quetz.web.app import check_routes  # slow to import, and seldom needed here

        check_routes(deployment.plugins)


def _check_frontend(deployment: Deployment) -> None:
    if deployment.settings.general.frontend_dir:
        from quetz.web.frontend import frontend_folder  # as above

        frontend_folder(deployment)


def _normal_root_path(text: str) -> str:
    root_path = "/" + text.strip("/") if text.strip("/") else ""
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", root_path):
        raise BadOption(f"--root-path '{text}' is not a path such as /conda")
    return root_path


def _resolve(host: str, port: int) -> str:
    """Return the IP address of ``host``, the one of IPv4 where it has both."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        raise BadOption(f"--host '{host}' is not an address of this machine") from None
    addresses = sorted(found, key=lambda entry: entry[0] != socket.AF_INET)
    return str(addresses[0][4][0])


def _check_exposure(settings: Settings, address: str) -> None:
    if settings.general.dev and not ipaddress.ip_address(address).is_loopback:
        raise BadOption(
            "[general] dev = true lets anyone log in without a password, so such a deployment "
            "listens on this machine only: use --host 127.0.0.1, or create one without --dev"
        )


def _check_port(address: str, port: int) -> None:
    """Bind the port once without SO_REUSEPORT, with which a second server would share it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # else TIME_WAIT counts
        try:
            probe.bind((address, port))
            probe.listen()
        except OSError as error:
            if error.errno == EADDRINUSE:
                raise PortTaken(address, port) from None
            raise BadOption(f"cannot listen on {address}:{port}: {error.strerror}") from None


def _log_file(path: Path, settings: Settings) -> Path | None:
    if not settings.logging.file:
        return None
    file = path / settings.logging.file
    try:
        file.open("a").close()
    except OSError as error:
        raise BadConfig(f"[logging] file: '{file}' cannot be written: {error.strerror}") from None
    return file


def _raise_open_files() -> None:
    """Let the workers hold as many connections as they accept; the usual soft limit is 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
