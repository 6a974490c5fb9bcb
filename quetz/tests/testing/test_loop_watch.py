import subprocess
import sys

import pytest

from quetz.testing.loop_watch import Notes

PROGRAM = """
import asyncio, sys, time
from quetz.testing.loop_watch import watch_this_process

def compute(seconds):
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass

async def main():
    compute(0.002)
    await asyncio.sleep(0)
    compute(0.08)
    await asyncio.sleep(0)
    time.sleep(0.08)
    await asyncio.to_thread(compute, 0.08)

watch_this_process(sys.argv[1])
asyncio.run(main())
"""


@pytest.fixture
def notes(tmp_path):
    file = tmp_path / "notes"
    file.touch()
    return Notes(file)


def test_a_turn_that_computes_for_long_is_noted_with_what_it_did(notes):
    subprocess.run([sys.executable, "-c", PROGRAM, str(notes.file)], check=True)

    [turn] = notes.turns()
    assert 0.08 <= turn.seconds < 0.16
    assert turn.stack[-1].endswith("compute")
    notes.forget()
    assert notes.turns() == []
