import fcntl
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from quetz.storage.local import LocalStore
from quetz.storage.staging import LOCK

HOLD_A_STAGE = """
import sys
from pathlib import Path
from quetz.storage.local import LocalStore

store = LocalStore.open(Path(sys.argv[1]))
stage = store.stage()
stage.write(b"half an upload")
print(stage.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other_process(store, tmp_path):
    """Run another process that holds a stage; give it and the stage's path."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_A_STAGE, str(tmp_path / "store")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def test_the_stages_of_a_live_process_are_left_alone(other_process, tmp_path):
    _, stage = other_process

    LocalStore.open(tmp_path / "store").close()

    assert stage.exists()


def test_the_stages_of_a_killed_process_are_removed_at_the_next_start(other_process, tmp_path):
    process, stage = other_process
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert stage.exists()

    LocalStore.open(tmp_path / "store").close()

    assert not stage.parent.exists()


def test_a_running_store_removes_the_stages_of_a_killed_process(store, other_process):
    process, stage = other_process
    mine = store.stage()
    store.remove_dead_stages()
    assert stage.exists()

    process.send_signal(signal.SIGKILL)
    process.wait()
    store.remove_dead_stages()

    assert not stage.parent.exists()
    assert mine.path.exists()


def test_closing_removes_only_the_own_stages(store, other_process):
    _, stage = other_process
    mine = store.stage()
    mine.finish()

    store.close()

    assert stage.exists()
    assert not mine.path.exists()


def test_a_folder_that_is_not_locked_yet_is_not_taken_for_dead(store, tmp_path, monkeypatch):
    flock = fcntl.flock
    others: list[threading.Thread] = []

    def flock_while_another_starts(file, operation):
        if Path(f"/proc/self/fd/{file}").readlink().name == LOCK and not others:
            other = threading.Thread(target=lambda: LocalStore.open(tmp_path / "store").close())
            others.append(other)
            other.start()
            other.join(timeout=0.5)  # it waits for its turn; without turns it ends at once
        flock(file, operation)

    store.close()
    monkeypatch.setattr(fcntl, "flock", flock_while_another_starts)

    mine = LocalStore.open(tmp_path / "store")

    others[0].join()
    mine.check()
    mine.close()


def test_a_folder_without_a_lock_is_removed(store, tmp_path):
    dead = tmp_path / "store" / "staging" / "dead"
    dead.mkdir()
    (dead / "1").write_text("half an upload")

    LocalStore.open(tmp_path / "store").close()

    assert not dead.exists()
