"""Commands: the wall time of what people and CI run."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from functools import partial
from pathlib import Path

from benchmarks import limits
from benchmarks.figures import Figure, ratio
from benchmarks.servers import free_port

ROOT = Path(__file__).parent.parent
PYTHON = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"


def measure(_folder: Path, rounds: int) -> list[Figure]:
    """Time ``quetz --help`` against a Python that does nothing."""
    helps, idles = [], []
    for _ in range(rounds + 1):
        helps.append(_seconds([str(Path(sys.executable).with_name("quetz")), "--help"]))
        idles.append(_seconds([sys.executable, "-c", "pass"]))
    del helps[0], idles[0]  # they may have had to read from disk
    return [
        Figure("quetz --help", helps, "s", 0.3, "wall time"),
        ratio("quetz --help, to an idle Python", helps, idles, unit="s", against="python -c pass"),
    ]


def measure_slow(folder: Path, rounds: int) -> list[Figure]:
    """Time what a newcomer runs first, in a fresh clone each time."""
    starts, tests = [], []
    for number in range(rounds):
        clone = folder / f"clone-{number}"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        starts.append(limits.seconds(partial(_run_until_ready, clone)))
        _make(clone, ".venv-dev/installed")
        tests.append(limits.seconds(partial(_make, clone, "test")))
        print(f"{number + 1}/{rounds}: {starts[-1]:.0f} s, {tests[-1]:.0f} s", flush=True)
    basis = f"fresh clones: {rounds}"
    return [
        Figure(
            "make run, until it answers", starts, "s", None, f"{basis}; packages in pip's cache"
        ),
        Figure("make test", tests, "s", None, f"{basis}; environment there"),
    ]


def _seconds(command: list[str]) -> float:
    return limits.seconds(lambda: subprocess.run(command, check=True, capture_output=True))


def _make(clone: Path, target: str) -> None:
    subprocess.run(["make", target, f"PYTHON={PYTHON}"], cwd=clone, check=True, capture_output=True)


def _run_until_ready(clone: Path) -> None:
    """Run ``make run`` until the server answers, and stop it after that."""
    port = free_port()
    with (clone / "run.log").open("wb") as log:
        process = subprocess.Popen(
            ["make", "run", f"PYTHON={PYTHON}", f"PORT={port}"],
            cwd=clone,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        while not _answers(f"http://127.0.0.1:{port}/health/ready"):
            if process.poll() is not None:
                raise RuntimeError((clone / "run.log").read_text())
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _answers(url: str) -> bool:
    try:
        with closing(urllib.request.urlopen(url, timeout=5)) as answer:
            return answer.status == 200
    except OSError:
        return False
