"""The servers that are measured, each on the server's processor, in a session of its own."""

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.machine import SERVER_CPU, Session, pinned
from quetz.testing.servers import running_server

START_SECONDS = 30


@dataclass(frozen=True)
class Running:
    port: int
    session: Session


def create_deployment(path: Path) -> str:
    """Make a deployment; return the API key of its owner."""
    command = [sys.executable, "-m", "quetz", "create", str(path), "--create-conf", "--dev"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return next(line for line in output.splitlines() if line.startswith("QUETZ_API_KEY="))[14:]


@contextmanager
def quetz_server(deployment: Path, *options: str) -> Iterator[Running]:
    with pinned(SERVER_CPU):
        running = running_server(deployment, *options)
        server = running.__enter__()
    try:
        port = urlsplit(server.url).port
        assert port is not None
        yield Running(port, Session(server.process.pid))
    finally:
        running.__exit__(None, None, None)


def wait_until_published(deployment: Path) -> None:
    """Wait until no change of the database waits for the indexes to show it."""
    with closing(sqlite3.connect(deployment / "quetz.sqlite")) as database:
        while database.execute("SELECT count(*) FROM index_dirty").fetchone() != (0,):
            time.sleep(0.05)


@contextmanager
def bare_server(file: Path) -> Iterator[Running]:
    """Run the bare peer, which serves ``file``."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.bare", str(port)]
    with _running(command, port, {"BENCHMARK_FILE": str(file)}) as running:
        yield running


def has_nginx() -> bool:
    return _nginx() is not None


@contextmanager
def nginx_server(folder: Path, work: Path, behind: Running | None = None) -> Iterator[Running]:
    """Run nginx with one worker, which serves the files in ``folder``; ``work`` is its own.

    With a quetz ``behind`` it asks that one, whose store is the folder.
    """
    port = free_port()
    work.mkdir()
    upstream, locations = "", ""
    if behind is not None:
        upstream = f"upstream quetz {{ server 127.0.0.1:{behind.port}; keepalive 32; }}"
        locations = _NGINX_IN_FRONT.format(folder=folder)
    config = _NGINX_CONFIG.format(
        port=port, folder=folder, work=work, upstream=upstream, locations=locations
    )
    (work / "nginx.conf").write_text(config)
    command = [str(_nginx()), "-p", str(work), "-c", str(work / "nginx.conf"), "-e", "stderr"]
    with _running(command, port, {}) as running:
        yield running


@contextmanager
def _running(command: list[str], port: int, environment: dict[str, str]) -> Iterator[Running]:
    with pinned(SERVER_CPU):
        process = subprocess.Popen(
            command, env=os.environ | environment, start_new_session=True, stdin=subprocess.DEVNULL
        )
    try:
        _wait_for(port, process)
        yield Running(port, Session(process.pid))
    finally:
        process.terminate()
        process.wait(START_SECONDS)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} did not start")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _nginx() -> str | None:
    return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")


# `user` matters when root starts it: its workers could not enter a temporary folder otherwise.
_NGINX_CONFIG = f"""\
{"user root;" if os.geteuid() == 0 else ""}
daemon off;
worker_processes 1;
pid {{work}}/nginx.pid;
events {{{{ worker_connections 1024; }}}}
http {{{{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    client_body_temp_path {{work}};
    proxy_temp_path {{work}};
    fastcgi_temp_path {{work}};
    uwsgi_temp_path {{work}};
    scgi_temp_path {{work}};
    server {{{{
        listen 127.0.0.1:{{port}};
        root {{folder}};
        {{locations}}
    }}}}
    {{upstream}}
}}}}
"""

_NGINX_IN_FRONT = """
location /get/ {{
    proxy_pass http://quetz;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
}}
location /files/ {{
    internal;
    alias {folder}/;
    etag off;
    add_header ETag $upstream_http_etag;
    add_header Last-Modified $upstream_http_last_modified;
}}
"""
