"""Each place where a test may kill the process has a name of its own, and is reached."""

from collections import Counter

import pytest

from quetz.testing.crashes import SCENARIOS, list_points


def test_no_two_crash_points_have_one_name():
    counts = Counter(list_points())

    assert [name for name, count in counts.items() if count > 1] == []


def test_each_crash_point_is_reached_by_one_scenario():
    reached = [point for scenario in SCENARIOS.values() for point in scenario.points]

    assert sorted(reached) == list_points()


def test_a_name_that_cannot_be_listed_is_told_of(tmp_path):
    (tmp_path / "plugin.py").write_text("for name in ('one', 'two'):\n    crashpoint(name)\n")

    with pytest.raises(ValueError, match=r"plugin\.py:2"):
        list_points(tmp_path)
