import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rattler import Version

from quetz.conda.versions import newest, sorted_versions, version_fault

# The order that CEP 33 gives as its example, less those with capital letters, which CEP 26 bars.
ORDERED = [
    *("0.4", "0.4.1.rc", "0.4.1+local", "0.4.1", "0.4.1+1.local", "0.5a1", "0.5b3", "0.5c1"),
    *("0.5", "0.9.6", "0.960923", "1.0", "1.1dev1", "1.1a1", "1.1.0dev1", "1.1.a1", "1.1.0rc1"),
    *("1.1", "1.1.post1", "1.1post1", "1996.07.12", "1!0.4.1", "1!3.1.1.6", "2!0.4.1"),
]
VERSIONS = st.from_regex(
    r"([0-9]!)?([0-9]{1,3}|[a-z]{1,4}|dev|post)"
    r"([._]([0-9]{1,3}|[0-9]?(a|rc|dev|post|alpha)[0-9]?)){0,3}_?(\+[0-9]{1,2})?",
    fullmatch=True,
)


def test_versions_are_ordered_as_the_standard_shows():
    assert sorted_versions(reversed(ORDERED)) == ORDERED
    assert newest(reversed(ORDERED)) == "2!0.4.1"


@given(st.lists(VERSIONS, min_size=1, max_size=8))
def test_the_order_is_that_of_rattler(versions):
    ordered = sorted_versions(versions)

    assert all(Version(a) <= Version(b) for a, b in itertools.pairwise(ordered))
    assert sorted(ordered) == sorted(versions)
    assert newest(versions) == ordered[-1]


@given(VERSIONS)
def test_what_is_allowed_is_what_rattler_reads(version):
    assert version_fault(version) is None


def test_equal_versions_are_ordered_the_same_way_whatever_came_first():
    assert sorted_versions(["1.0.0", "1.0"]) == sorted_versions(["1.0", "1.0.0"])


@pytest.mark.parametrize(
    "version",
    [
        *("", "1..0", "1.0-1", "1!", "!1", "1!!2", "1+", "1+a+b", "1._1", "1.0RC", "1.0*", "1 0"),
        *("2147483648", "1" * 65, "1.0\n", "1.é"),
    ],
)
def test_what_breaks_the_standard_has_a_fault(version):
    assert version_fault(version)
