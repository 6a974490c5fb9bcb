"""Programs as forks of a process that has imported quetz and pytest, and nothing of a plugin.

Each is a process of its own, as ``python`` would be, and starts at once.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

SECONDS = 120
# What most of them import when they run. Not the web, which some must not, and nothing of
# quetz.testing, which pytest has to import: it rewrites the assertions there.
IMPORTED = (
    "_pytest.config",
    "pytest",
    "quetz.cli.app",
    "quetz.migrations.backups",
    "quetz.migrations.checks",
    "quetz.migrations.status",
    "quetz.plugin_api",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite",
)


def run_in_fork(
    arguments: list[str], folder: Path, environment: Mapping[str, str], cwd: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run ``python`` with ``-m`` and a module or ``-c`` and a program, and arguments of these.

    It finds the distributions in a folder, too.
    """
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    with TemporaryDirectory() as outputs:
        order = {
            "arguments": arguments,
            "folder": str(folder),
            "outputs": outputs,
            "environment": dict(environment),
            "cwd": str(cwd or Path.cwd()),
        }
        print(json.dumps(order), file=server.stdin, flush=True)
        code = int(server.stdout.readline())
        out, err = ((Path(outputs) / name).read_text() for name in ("out", "err"))
    return subprocess.CompletedProcess(arguments, code, out, err)


@cache
def _server() -> "subprocess.Popen[str]":
    server = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def stop() -> None:
        server.communicate()

    atexit.register(stop)
    return server


def main() -> None:
    for module in IMPORTED:
        importlib.import_module(module)
    gc.freeze()  # a collection in a fork would look at all of it, and copy its pages
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if not child:
            _become(order)
        print(_code_of(child), flush=True)


def _code_of(child: int) -> int:
    def give_up(*_: object) -> None:
        os.kill(child, signal.SIGKILL)

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(SECONDS)
    _, status = os.waitpid(child, 0)
    signal.alarm(0)
    return os.waitstatus_to_exitcode(status)


def _become(order: Mapping[str, Any]) -> None:
    """Be that program, and end."""
    for number, name in enumerate(("out", "err"), start=1):
        file = os.open(Path(order["outputs"]) / name, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.dont_write_bytecode = "PYTHONDONTWRITEBYTECODE" in os.environ
    os.chdir(order["cwd"])
    sys.path.insert(0, order["folder"])
    importlib.invalidate_caches()
    code = 1
    try:
        code = _run(order["arguments"])
    except BaseException:  # noqa: BLE001 (as the interpreter does)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(arguments: list[str]) -> int:
    option, program, *others = arguments
    sys.argv = [program if option == "-m" else option, *others]
    try:
        if option == "-c":
            exec(program, {"__name__": "__main__"})
        else:
            runpy.run_module(program, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


if __name__ == "__main__":
    main()
