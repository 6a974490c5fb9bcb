"""The bugs that the crash campaign plants can be planted in the sources of today."""

import pytest

from benchmarks.crash.seeded import BUGS, Bug
from quetz.tests.architecture.sources import PACKAGE


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_what_a_bug_replaces_is_there_once(bug: Bug):
    text = (PACKAGE / bug.file).read_text(encoding="utf-8")

    assert [text.count(old) for old, _ in bug.edits] == [1] * len(bug.edits)
