"""MIG-9, 14, 15, 16: what tests show, run as a campaign."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.figures import Figure

ROOT = Path(__file__).parents[2]

TESTS = {
    "MIG-9 model edits whose migration is not as expected": [
        "quetz/tests/migrations/test_model_edits.py"
    ],
    "MIG-14 secrets in a stream": ["quetz/tests/cli/test_secrets.py"],
    "MIG-15 exit codes and outputs not as told": [
        "quetz/tests/cli/test_outcomes.py",
        "quetz/tests/cli/test_exit_codes.py",
        "quetz/tests/cli/test_migrations.py",
        "quetz/tests/cli/test_backups.py",
    ],
}


def measure() -> list[Figure]:
    figures = []
    for name, files in TESTS.items():
        _seconds, failed, passed = _pytest(*files)
        figures.append(Figure(name, [failed], "failures", 0, f"{passed} tests passed"))
    return [*figures, _modes()]


# The tests that ask for a database with tables, but for those that start servers of their own.
WITH_TABLES = ("quetz/tests/services", "quetz/tests/web", "quetz/tests/db")


def _modes() -> Figure:
    seconds = {}
    for mode in ("create-tables", "use-migrations"):
        seconds[mode], failed, passed = _pytest(*WITH_TABLES, QUETZ_TEST_DBINIT=mode)
        if failed:
            raise RuntimeError(f"{failed} tests fail with QUETZ_TEST_DBINIT={mode}")
    ours, theirs = seconds["use-migrations"], seconds["create-tables"]
    basis = f"{ours:.0f} s against {theirs:.0f} s, {passed} tests, one pair"
    return Figure(
        "MIG-16 the suite on migrations, to that on models", [ours / theirs], "x", 1.2, basis
    )


def _pytest(*arguments: str, **environment: str) -> tuple[float, int, int]:
    """Return seconds, failures and passed tests."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - started
    counts = {what: int(count) for count, what in re.findall(r"(\d+) (\w+)", done.stdout[-200:])}
    if done.returncode not in {0, 1} or "passed" not in counts:
        raise RuntimeError(f"pytest did not run: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return seconds, counts.get("failed", 0) + counts.get("errors", 0), counts["passed"]
