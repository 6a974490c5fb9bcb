import signal
import subprocess
import sys
from pathlib import Path

import pytest

from quetz.storage.local import LocalStore

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


def test_closing_removes_only_the_own_stages(store, other_process):
    _, stage = other_process
    mine = store.stage()
    mine.finish()

    store.close()

    assert stage.exists()
    assert not mine.path.exists()


OPEN_AND_STAGE = """
import sys
from pathlib import Path
from quetz.storage.local import LocalStore

for _ in range(40):
    store = LocalStore.open(Path(sys.argv[1]))
    with store.stage() as stage:
        stage.write(b"mine")
        stage.finish()
        assert stage.path.read_bytes() == b"mine"
    store.close()
"""


def test_processes_that_start_at_once_do_not_remove_each_other_s_stages(store, tmp_path):
    processes = [
        subprocess.Popen([sys.executable, "-c", OPEN_AND_STAGE, str(tmp_path / "store")])
        for _ in range(4)
    ]

    assert [process.wait() for process in processes] == [0, 0, 0, 0]


def test_a_folder_without_a_lock_is_removed(store, tmp_path):
    dead = tmp_path / "store" / "staging" / "dead"
    dead.mkdir()
    (dead / "1").write_text("half an upload")

    LocalStore.open(tmp_path / "store").close()

    assert not dead.exists()
