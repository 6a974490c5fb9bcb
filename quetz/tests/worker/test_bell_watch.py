"""The bell: how one process wakes what publishes and seals in another one."""

import os
import stat
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from quetz.deployment import BELL, LOCK_FOLDER, Deployment
from quetz.services.accounts import create_user
from quetz.services.permissions import OPERATOR
from quetz.worker.bell_watch import BellWatch

SECONDS = 20


@pytest.fixture
def bell(deployment_path) -> Path:
    return deployment_path / LOCK_FOLDER / BELL


@pytest.fixture
def server(deployment_path, monkeypatch):
    """Listen as a server's own process does; return what is woken there."""
    deployment = Deployment.open(deployment_path)
    sleeper = threading.Event()
    deployment.sleepers.append(sleeper)
    watch = BellWatch(deployment)
    watch.start()
    yield sleeper
    watch.stop()
    deployment.close()


def change(deployment, name):
    with deployment.transaction(write=True) as session:
        create_user(session, OPERATOR, name, role=None)


def wait_for(path):
    for _ in range(SECONDS * 100):
        if path.exists():
            return
        threading.Event().wait(0.01)
    pytest.fail(f"{path} was not made")


def test_a_change_wakes_what_sleeps_in_another_process(deployment, server, bell):
    wait_for(bell)

    for name in ("anna", "bert"):
        server.clear()
        change(deployment, name)
        assert server.wait(SECONDS)


def test_a_read_wakes_nobody(deployment, server, bell):
    wait_for(bell)

    with deployment.transaction() as session:
        session.connection().exec_driver_sql("SELECT 1")
    with deployment.transaction(write=True):
        pass

    assert not server.wait(0.2)


def test_a_change_waits_for_nobody_who_does_not_listen(deployment, bell):
    change(deployment, "anna")  # there is no bell
    bell.parent.mkdir(exist_ok=True)
    os.mkfifo(bell)
    change(deployment, "bert")  # nobody has it open


def test_a_change_does_not_wait_for_a_listener_that_is_stuck(deployment, bell):
    stuck = deployment.bell.open()
    for _ in range(100_000):  # more than the kernel keeps
        deployment.bell.ring()
    os.close(stuck)


def test_a_server_starts_where_no_fifo_can_be_made(deployment, bell, caplog):
    bell.parent.mkdir(exist_ok=True)
    bell.write_text("a copy")
    watch = BellWatch(deployment)

    watch.start()
    watch.stop()

    assert "it is in the way of a FIFO" in caplog.text
    assert bell.read_text() == "a copy"


def test_a_bell_that_another_server_took_away_is_put_up_again(deployment, server, bell):
    wait_for(bell)
    bell.unlink()
    wait_for(bell)

    change(deployment, "anna")

    assert server.wait(SECONDS)


def test_a_watch_leaves_no_bell_behind(deployment, bell):
    watch = BellWatch(deployment)
    watch.start()
    wait_for(bell)

    watch.stop()

    assert not bell.exists()


def test_a_watch_leaves_nothing_open(deployment):
    before = pipes()
    for _ in range(5):
        watch = BellWatch(deployment)
        watch.start()
        watch.stop()

    assert pipes() == before


def pipes():
    """Count the pipes and FIFOs that this process has open."""
    count = 0
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # another thread has closed it
            count += stat.S_ISFIFO(entry.stat().st_mode)
    return count
