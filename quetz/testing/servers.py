"""Run a real server: `quetz start` in a process of its own, on a port of its own."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

START_SECONDS = 60
STOP_SECONDS = 30
ATTEMPTS = 5

# Becomes `quetz ...`, and ends when the process that started it dies, even by SIGKILL: the
# request to be told of that (PR_SET_PDEATHSIG) outlives execv.
_QUETZ = """\
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
os.execv(sys.executable, [sys.executable, "-m", "quetz", *sys.argv[1:]])
"""


class ServerFailed(Exception):
    """A server did not start, or did not end well; the message holds its log."""

    def __init__(self, what: str, log: Path) -> None:
        super().__init__(f"{what}; its log says:\n{log.read_text(errors='replace')}")


@dataclass(frozen=True)
class Server:
    """A running server; ``url`` is without a final slash, and ends in the root path if it has one.

    What the server writes to its standard output and error is in the file ``log``.
    """

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def is_ready(self) -> bool:
        """Ask it once whether it can serve."""
        return _is_ready(self)


@contextmanager
def running_server(path: Path, *options: str) -> Iterator[Server]:
    """Start the deployment in ``path`` with more ``options``, and stop it at the end.

    Raises:
        ServerFailed: it did not become ready, or SIGTERM did not end it with exit code 0.
    """
    server = _start(path, options)
    try:
        yield server
    finally:
        _stop(server)


@contextmanager
def doomed_server(path: Path, *options: str) -> Iterator[Server]:
    """Start the deployment as `running_server` does; whatever is left at the end is killed."""
    server = _start(path, options)
    try:
        yield server
    finally:
        _kill(server)


@contextmanager
def spawned_server(path: Path, **variables: str) -> Iterator[Server]:
    """Start as `doomed_server` does, with more environment, and do not wait until it is ready."""
    log = path.with_name(f"{path.name}.log")
    server = _spawn(path, _free_port(), (), log, variables)
    try:
        yield server
    finally:
        _kill(server)


def _start(path: Path, options: tuple[str, ...]) -> Server:
    log = path.with_name(f"{path.name}.log")
    for _ in range(ATTEMPTS):
        port = _free_port()
        server = _spawn(path, port, options, log)
        if _becomes_ready(server):
            return server
        _kill(server)
        if _is_free(port):
            raise ServerFailed("quetz start did not become ready", log)
        # Somebody else took the port between our look and the server's start.
    raise ServerFailed(f"quetz start found its port taken {ATTEMPTS} times", log)


def _spawn(
    path: Path,
    port: int,
    options: tuple[str, ...],
    log: Path,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Server:
    command = [sys.executable, "-c", _QUETZ, "start", str(path)]
    command += ["--host", "127.0.0.1", "--port", str(port), *options]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | dict(variables),
            start_new_session=True,  # so that all its processes can be killed at once
        )
    return Server(f"http://127.0.0.1:{port}{_root_path(options)}", process, log)


def _root_path(options: tuple[str, ...]) -> str:
    return options[options.index("--root-path") + 1] if "--root-path" in options else ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _becomes_ready(server: Server) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            return False
        if _is_ready(server):
            # Another program could be what answers on the port.
            return server.process.poll() is None
        time.sleep(0.05)
    return False


def _is_ready(server: Server) -> bool:
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=5)
    try:
        connection.request("GET", f"{parts.path}/health/ready")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _stop(server: Server) -> None:
    server.process.send_signal(signal.SIGTERM)
    try:
        code = server.process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        _kill(server)
        raise ServerFailed(f"SIGTERM did not end it in {STOP_SECONDS} s", server.log) from None
    if code != 0:
        raise ServerFailed(f"SIGTERM ended it with exit code {code}", server.log)


def _kill(server: Server) -> None:
    with suppress(ProcessLookupError):
        os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait()
