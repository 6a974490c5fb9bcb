"""Each edge translates every kind of error."""

import pytest

from quetz.cli.outcomes import EXIT_CODES
from quetz.errors import KINDS, QuetzError
from quetz.web.errors import STATUS


@pytest.mark.parametrize(
    "table", [pytest.param(STATUS, id="web"), pytest.param(EXIT_CODES, id="cli")]
)
def test_every_kind_of_error_is_in_the_table(table):
    assert set(KINDS) <= set(table)


def test_every_error_is_of_a_kind():
    assert set(QuetzError.__subclasses__()) == set(KINDS)
