"""What a history of crashes tells of what is found afterwards."""

import pytest

from quetz.testing.crashes.histories import Change, History, Place, Refused, Request, State

ONE, TWO = Place("forge", "noarch", "one-1-0.conda"), Place("forge", "noarch", "two-1-0.conda")
FORM = Change(Request("POST", "/files/"), {ONE: State("1"), TWO: State("2")})


def unanswered(_request):
    raise ConnectionResetError


@pytest.fixture
def history():
    """A history with one form that was never answered."""
    history = History()
    history.attempt(FORM, unanswered)
    return history


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param({ONE: None, TWO: None}, id="nothing"),
        pytest.param({ONE: State("1"), TWO: State("2")}, id="all"),
    ],
)
def test_what_was_not_answered_may_be_done_or_not(history, seen):
    assert history.faults(seen) == []


def test_half_a_form_is_a_fault(history):
    faults = history.faults({ONE: State("1"), TWO: None})

    assert len(faults) == 1
    assert "done in part" in faults[0]


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(None, id="lost"),
        pytest.param(State("0"), id="other bytes"),
        pytest.param(State("1", offered=False), id="yanked"),
    ],
)
def test_what_was_acknowledged_has_to_be_there(seen):
    history = History()
    history.attempt(FORM, lambda _request: 201)

    faults = history.faults({ONE: seen, TWO: State("2")})

    assert len(faults) == 1
    assert "forge/noarch/one-1-0.conda" in faults[0]


def test_a_refusal_is_not_taken_for_a_crash():
    history = History()

    with pytest.raises(Refused, match="409"):
        history.attempt(FORM, lambda _request: 409)

    assert history.unanswered == []


def test_what_was_asked_again_is_certain(history):
    history.settle(FORM)

    assert history.faults({ONE: State("1"), TWO: State("2")}) == []
    assert history.faults({ONE: None, TWO: None}) != []
