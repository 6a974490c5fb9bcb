"""Bugs planted in a copy of quetz, one at a time: each breaks a rule of the protocol, and is found.

The campaign fails where the text is gone that a bug replaces: then the table has to follow.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure, NotRun

ROOT = Path(__file__).parents[2]
GOAL = 10
SECONDS = 300

TESTS = "quetz/tests"
ORDER = f"{TESTS}/faults/test_order.py"
PUBLISHING = f"{TESTS}/services/test_publishing.py"
RACES = f"{TESTS}/worker/test_collecting_races.py"
DURABLE = (
    f"{TESTS}/storage/test_local.py::"
    "test_bytes_are_durable_before_their_name_and_the_name_before_the_return"
)
PUT = """\
        for (_, stage), item in zip(staged, received, strict=True):
            crashpoint("upload.storing")
            deployment.store.put(stage, object_key(item.sha256))
"""


@dataclass(frozen=True)
class Bug:
    """A rule, the (old, new) texts in a file that break it, and the tests of which one sees it."""

    name: str
    file: str
    edits: Sequence[tuple[str, str]]
    tests: Sequence[str]


BUGS = [
    Bug(
        "an object is visible before its bytes are durable",
        "storage/staging.py",
        [("            os.fsync(self._file)\n", "")],
        [DURABLE],
    ),
    Bug(
        "the name of an object is not durable when put returns",
        "storage/local.py",
        [
            (
                '            crashpoint("put.renamed")\n            os.fsync(folder)\n',
                '            crashpoint("put.renamed")\n',
            )
        ],
        [DURABLE],
    ),
    Bug(
        "a commit is answered before it is on disk",
        "db/engine.py",
        [("PRAGMA synchronous=FULL", "PRAGMA synchronous=NORMAL")],
        [f"{TESTS}/db/test_engine.py::test_sqlite_is_set_up_for_durability_and_waiting"],
    ),
    Bug(
        "a row is committed before its bytes are in the store",
        "web/api/uploads.py",
        [
            (PUT, ""),
            ("            objects.check_stored(deployment.store, hashes)\n", ""),
            (
                '        crashpoint("upload.recorded")\n',
                f'{PUT}        crashpoint("upload.recorded")\n',
            ),
        ],
        [f"{ORDER}::test_a_file_whose_bytes_may_not_be_stored_is_not_recorded"],
    ),
    Bug(
        "marks are deleted up to the largest that was read",
        "services/publishing.py",
        [
            ("import Channel, IndexState\n", "import Channel, IndexDirty, IndexState\n"),
            (
                "    remove_marks(session, batch.marks)\n    return True",
                (
                    "    session.query(IndexDirty).filter(\n"
                    "        IndexDirty.channel_id == switch.channel_id,\n"
                    "        IndexDirty.subdir == switch.subdir,\n"
                    "        IndexDirty.family == switch.family,\n"
                    "        IndexDirty.id <= max(batch.marks),\n"
                    "    ).delete()\n"
                    "    return True"
                ),
            ),
        ],
        [(f"{ORDER}::test_a_mark_that_is_committed_after_one_with_a_larger_id_is_published_next")],
    ),
    Bug(
        "a switch flips without compare-and-swap",
        "db/queries/index.py",
        [
            ('IndexState.generation == bindparam("read_generation")', "IndexState.generation >= 0"),
            ('            "read_generation": read_generation,\n', ""),
        ],
        [f"{PUBLISHING}::test_a_build_that_changed_nothing_still_stops_a_slower_one"],
    ),
    Bug(
        "a flip names shards without a look whether they are still there",
        "services/publishing.py",
        [("    if not store.has_all([parse_index_key(key) for key in keys]):", "    if not keys:")],
        [(f"{PUBLISHING}::test_a_shard_removed_between_build_and_flip_is_built_again")],
    ),
    Bug(
        "files are discarded whose flip was committed, though its answer was lost",
        "worker/publisher.py",
        [
            (
                "if not publishing.is_current(session, batch.switch, built):",
                "if session is not None:",
            )
        ],
        [(f"{ORDER}::test_files_stay_whose_flip_was_committed_though_its_answer_was_lost")],
    ),
    Bug(
        "objects are collected without grace",
        "worker/collecting.py",
        [("before=now_ms() - grace_ms", "before=now_ms()")],
        [f"{TESTS}/worker/test_collecting.py::test_the_bytes_of_a_deleted_file_go_after_the_grace"],
    ),
    Bug(
        "objects are collected without a look whether they were touched since",
        "db/queries/objects.py",
        [
            (
                "as_before = set(session.connection().execute(query)).intersection(found)",
                "as_before = set(found)",
            )
        ],
        [(f"{RACES}::test_what_was_touched_since_it_was_found_is_left_alone")],
    ),
    Bug(
        "an upload is recorded whose bytes the collector has just removed",
        "web/api/uploads.py",
        [("            objects.check_stored(deployment.store, hashes)\n", "")],
        [(f"{RACES}::test_an_upload_that_is_recorded_after_its_bytes_went_is_told_to_come_again")],
    ),
    Bug(
        "a change leaves no event",
        "services/yanks.py",
        [
            (
                "from quetz.services.events import record_event\n",
                "def record_event(*_: object, **__: object) -> None: ...\n",
            )
        ],
        [
            (
                f"{TESTS}/web/api/test_yanks.py::"
                "test_each_change_leaves_one_event_and_the_same_again_none"
            )
        ],
    ),
    Bug(
        "a quota is not looked at again under the lock",
        "services/uploads.py",
        [("        check_quota(session, channel, more, now=now_ms())\n", "")],
        [f"{ORDER}::test_a_quota_that_was_lowered_meanwhile_holds"],
    ),
    Bug(
        "a COMMIT that failed leaves its transaction in the pool",
        "db/engine.py",
        [('        event.listen(engine, "reset", _roll_back)\n', "")],
        [f"{TESTS}/testing/test_faults.py::test_a_database_that_failed_once_is_used_on"],
    ),
]


def measure(_scale: float, folder: Path) -> Iterable[Figure | NotRun]:
    """REL-30: without a bug its tests pass, and with it one of them fails."""
    sound = folder / "sound"
    _copy(ROOT, sound)
    tests = sorted({test for bug in BUGS for test in bug.tests})
    if failed := _failures(sound, tests):
        raise RuntimeError(f"without a bug {failed} tests fail")
    missed = [bug.name for bug in BUGS if not _is_found(bug, sound, folder / "seeded")]
    print(*(f"not found: {name}" for name in missed), sep="\n", flush=True)
    found = len(BUGS) - len(missed)
    basis = f"of {len(BUGS)}, by {len(tests)} tests"
    yield Figure("REL-30 seeded bugs found", [found], "bugs", GOAL, basis, more_is_better=True)
    yield Figure("REL-30 seeded bugs not found", [len(missed)], "bugs", 0, basis)


def _copy(source: Path, target: Path) -> None:
    target.mkdir()
    shutil.copy(source / "pyproject.toml", target)
    shutil.copytree(source / "quetz", target / "quetz")


def _is_found(bug: Bug, sound: Path, copy: Path) -> bool:
    _copy(sound, copy)
    file = copy / "quetz" / bug.file
    text = file.read_text()
    for old, new in bug.edits:
        if text.count(old) != 1:
            raise RuntimeError(f"'{bug.name}': {bug.file} has {text.count(old)} times {old!r}")
        text = text.replace(old, new)
    compile(text, bug.file, "exec")  # a bug, and no nonsense
    file.write_text(text)
    found = _failures(copy, bug.tests) > 0
    shutil.rmtree(copy)
    return found


def _failures(copy: Path, tests: Sequence[str]) -> int:
    """Return how many of the tests fail on the copy.

    Raises:
        RuntimeError: they could not be run, or ended before they came to what they are about.
    """
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", *tests],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    counts = {what: int(count) for count, what in re.findall(r"(\d+) (\w+)", done.stdout[-200:])}
    if done.returncode not in {0, 1} or counts.keys() & {"error", "errors"} or not counts:
        raise RuntimeError(f"pytest did not run: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return counts.get("failed", 0)
