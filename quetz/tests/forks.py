"""Programs as forks of a process that has imported what they need, and nothing of a plugin.

Each is a process of its own, as ``python`` would be, and starts at once. What a fork cannot show
is how an interpreter starts: for each kind of program some tests run it in one of its own.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import site
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from quetz.tests.forked import run_by

SECONDS = 600
LONGEST_ORDER = 2**18
OTHERS = (
    "_pytest.config",
    "alembic.autogenerate",
    "alembic.command",
    "msgspec",
    "psycopg",
    "pydantic_settings",
    "pytest",
    "rich.console",
    "rich.table",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite",
    "sqlalchemy.orm",
    "typer.main",
    "zstandard",
)


class Kind(StrEnum):
    """What has been imported when a program starts."""

    OTHERS = "others"  # nothing of quetz: a program may bring another release of it
    QUETZ = "quetz"


# What most of them import when they run. Not the web, which some must not, and nothing of
# quetz.testing, which pytest has to import: it rewrites the assertions there.
IMPORTED = {
    Kind.OTHERS: OTHERS,
    Kind.QUETZ: (
        *OTHERS,
        "quetz.cli.app",
        "quetz.migrations.backups",
        "quetz.migrations.checks",
        "quetz.migrations.status",
        "quetz.plugin_api",
    ),
}


def run_in_fork(
    arguments: list[str],
    folder: Path,
    environment: Mapping[str, str],
    cwd: Path | None = None,
    *,
    kind: Kind = Kind.QUETZ,
) -> "subprocess.CompletedProcess[str]":
    """Run ``python`` with ``-m`` and a module or ``-c`` and a program, and arguments of these.

    It finds the distributions in a folder, too.
    """
    order = {
        "arguments": arguments,
        "environment": {**environment, "PYTHONPATH": str(folder)},
        "cwd": str(cwd or Path.cwd()),
    }
    with (
        Path(os.devnull).open() as nothing,
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
    ):
        files = nothing.fileno(), out.fileno(), err.fileno()
        code = run_by(server_of(kind), order, files)
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(arguments, code, out.read(), err.read())


def python_of(kind: Kind, environment: Path | None = None) -> list[str]:
    """Return what stands for ``python``, or for that of a virtual environment, in a command.

    A signal does not reach the fork.
    """
    client = Path(__file__).with_name("forked.py")
    order = {} if environment is None else {"venv": str(environment)}
    return [sys.executable, "-IS", str(client), server_of(kind), json.dumps(order)]


@cache
def server_of(kind: Kind) -> str:
    """Return the socket of the server, which is started, and ends with this process."""
    folder = tempfile.TemporaryDirectory(prefix="forks-")
    path = str(Path(folder.name, "socket"))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    listener.listen(64)
    server = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", __name__, kind, str(listener.fileno())],
        stdin=subprocess.PIPE,
        pass_fds=[listener.fileno()],
    )
    listener.close()

    def stop() -> None:
        server.communicate()
        folder.cleanup()

    atexit.register(stop)
    return path


def main(kind: str, listener: socket.socket) -> None:
    for module in [name for name in sys.modules if name.partition(".")[0] == "quetz"]:
        del sys.modules[module]  # these were for this module only
    for module in IMPORTED[Kind(kind)]:
        importlib.import_module(module)
    sys.path.pop(0)  # where this module was found
    gc.freeze()  # a collection in a fork would look at all of it, and copy its pages
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        with connection:
            if not os.fork():
                listener.close()
                _serve(connection)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _serve(connection: socket.socket) -> None:
    """Run a program in one more fork, and end."""
    message, files, _, _ = socket.recv_fds(connection, LONGEST_ORDER, 3)
    child = os.fork()
    if not child:
        connection.close()
        _become(json.loads(message), files)
    for file in files:
        os.close(file)
    ended = os.pidfd_open(child)
    if ended not in select.select([connection.fileno(), ended], [], [], SECONDS)[0]:
        os.kill(child, signal.SIGKILL)  # who asked for it has gone, or waited long enough
    _, status = os.waitpid(child, 0)
    with suppress(OSError):
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(order: Mapping[str, Any], files: list[int]) -> None:
    """Be that program, and end."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.dont_write_bytecode = "PYTHONDONTWRITEBYTECODE" in os.environ
    os.chdir(order["cwd"])
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests
    _find_modules(order)
    code = 1
    try:
        code = _run(order["arguments"])
    except BaseException:  # noqa: BLE001 (as the interpreter does)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _find_modules(order: Mapping[str, Any]) -> None:
    folders = [folder for folder in os.environ.get("PYTHONPATH", "").split(":") if folder]
    sys.path[:0] = [order["cwd"], *folders]
    if "venv" in order:
        sys.prefix = sys.exec_prefix = order["venv"]
        sys.executable = f"{sys.prefix}/bin/python"
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        site.addsitedir(f"{sys.prefix}/lib/{version}/site-packages")
    importlib.invalidate_caches()


def _run(arguments: list[str]) -> int:
    option, program, *others = arguments
    sys.argv = [program if option == "-m" else option, *others]
    try:
        if option == "-c":
            exec(program, {"__name__": "__main__"})
        else:
            runpy.run_module(program, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return _code_of(end)
    return 0


def _code_of(end: SystemExit) -> int:
    """Say what the interpreter would of an exit, and return its code."""
    if isinstance(end.code, str):
        print(end.code, file=sys.stderr)
    return end.code if isinstance(end.code, int) else int(end.code is not None)


if __name__ == "__main__":
    main(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
