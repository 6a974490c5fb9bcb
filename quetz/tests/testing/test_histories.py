"""Histories written by hand: the sound ones pass, and each fault is found."""

import math
import threading

import pytest

from quetz.testing.histories import (
    Call,
    File,
    History,
    IndexRead,
    Kind,
    Outcome,
    Poll,
    check,
    check_files,
    check_polls,
    check_reads,
)

FILE = File("forge", "noarch", "pkg-1.0-0.conda")
OK, FAIL, UNKNOWN = Outcome.OK, Outcome.FAIL, Outcome.UNKNOWN


def call(kind, value, began, ended, outcome=OK, **more):
    return Call("alice", kind, FILE, value, began, ended, outcome, **more)


def upload(value, began, ended, outcome=OK, **more):
    created = True if outcome is OK else None
    return call(Kind.UPLOAD, value, began, ended, outcome, **{"created": created, **more})


def force(value, began, ended, outcome=OK, **more):
    return call(Kind.FORCE, value, began, ended, outcome, **more)


def delete(began, ended, outcome=OK, **more):
    return call(Kind.DELETE, None, began, ended, outcome, **more)


def read(value, began, ended):
    return call(Kind.READ, value, began, ended)


def index(value, began, ended, client="bob"):
    listing = {} if value is None else {FILE.filename: value}
    return IndexRead(client, "forge", "noarch", "repodata.json", listing, began, ended)


NEVER = math.inf
SOUND = [
    pytest.param([read(None, 0, 1), upload("a", 2, 3), read("a", 4, 5)], id="one after another"),
    pytest.param([upload("a", 0, 9), read("a", 1, 2), read("a", 3, 4)], id="seen before its end"),
    pytest.param([upload("a", 0, 9), read(None, 1, 2), read("a", 3, 4)], id="seen in its midst"),
    pytest.param([upload("a", 0, 5), upload("b", 1, 4, FAIL)], id="of two, one is refused"),
    pytest.param([upload("a", 0, 1), upload("a", 2, 3, created=False)], id="the same bytes again"),
    pytest.param([upload("a", 0, NEVER, UNKNOWN), read(None, 5, 6)], id="unknown, and not done"),
    pytest.param([upload("a", 0, NEVER, UNKNOWN), read("a", 5, 6)], id="unknown, and done"),
    pytest.param(
        [upload("a", 0, NEVER, UNKNOWN), read(None, 5, 6), read("a", 7, 8)],
        id="unknown, and done later",
    ),
    pytest.param(
        [upload("a", 0, 1), delete(2, 3), upload("b", 4, 5, FAIL), upload("a", 6, 7)],
        id="a deleted name is reserved",
    ),
    pytest.param(
        [upload("a", 0, 1), call(Kind.DROP, None, 2, 3), upload("b", 4, 5)],
        id="a deleted channel reserves nothing",
    ),
    pytest.param([delete(0, 1, FAIL), upload("a", 2, 3)], id="nothing there to delete"),
    pytest.param([delete(0, NEVER, UNKNOWN), upload("a", 2, 3), read("a", 4, 5)], id="no delete"),
    pytest.param(
        [upload("a", 0, 1), force("b", 2, 9), force("c", 2, 9), read("b", 3, 4), read("c", 5, 6)],
        id="two replace it at once",
    ),
    pytest.param(
        [upload("a", 0, 1), call(Kind.YANK, None, 2, 3), read("a", 4, 5)], id="a yank keeps it"
    ),
]
WRONG = [
    pytest.param([upload("a", 0, 1), read(None, 2, 3)], id="a lost upload"),
    pytest.param([upload("a", 0, 1), read("b", 2, 3)], id="other bytes"),
    pytest.param([read("a", 0, 1), upload("a", 2, 3)], id="read before it was sent"),
    pytest.param([upload("a", 0, 5), upload("b", 1, 4)], id="two win"),
    pytest.param([upload("a", 0, 1, FAIL)], id="refused without a reason"),
    pytest.param([upload("a", 0, 1), upload("a", 2, 3)], id="created twice"),
    pytest.param([upload("a", 0, 1, created=False)], id="the same as nothing"),
    pytest.param(
        [upload("a", 0, 9), read("a", 1, 2), read(None, 3, 4)], id="gone after it was seen"
    ),
    pytest.param([upload("a", 0, 1), delete(2, 3), read("a", 4, 5)], id="back after its deletion"),
    pytest.param([upload("a", 0, 1), delete(2, 3), upload("b", 4, 5)], id="a reserved name taken"),
    pytest.param([upload("a", 0, 1), delete(2, 3), delete(4, 5)], id="deleted twice"),
    pytest.param([upload("a", 0, 1), delete(2, 3, FAIL)], id="not deleted without a reason"),
    pytest.param(
        [upload("a", 0, NEVER, UNKNOWN), read("a", 5, 6), read(None, 7, 8)],
        id="unknown, done and undone",
    ),
    pytest.param(
        [
            *[upload("a", 0, 1), force("b", 2, 9), force("c", 2, 9)],
            *[read("b", 3, 4), read("c", 5, 6), read("b", 7, 8)],
        ],
        id="a replaced state returns",
    ),
    pytest.param([call(Kind.YANK, None, 0, 1)], id="a yank of nothing"),
]


@pytest.mark.parametrize("calls", SOUND)
def test_what_some_order_explains_is_sound(calls):
    assert check_files(calls) == []


@pytest.mark.parametrize("calls", WRONG)
def test_what_no_order_explains_is_found(calls):
    [fault] = check_files(calls)

    assert fault.startswith("forge/noarch/pkg-1.0-0.conda: no order of")


def test_a_fault_names_the_call_that_fits_nowhere():
    [fault] = check_files([upload("a" * 64, 0, 1), read("b" * 64, 2, 3), read("a" * 64, 4, 5)])

    assert fault.endswith("'alice: READ forge/noarch/pkg-1.0-0.conda bbbbbbbbbbbb OK'")


def test_files_are_looked_at_one_by_one():
    other = File("forge", "noarch", "other-1.0-0.conda")
    calls = [upload("a", 0, 1), Call("alice", Kind.READ, other, None, 2, 3, OK)]

    assert check_files(calls) == []


def test_a_long_history_of_many_at_once_is_decided():
    calls = [force(f"{n}", n, n + 4) for n in range(200)]
    calls += [read(f"{n}", n + 2, n + 3) for n in range(0, 200, 20)]
    late = [*calls, read("3", 500, 501)]

    assert check_files(calls) == []
    assert len(check_files(late)) == 1


@pytest.mark.parametrize(
    ("calls", "reads"),
    [
        pytest.param([upload("a", 0, 1)], [index(None, 2, 3), index("a", 4, 5)], id="it lags"),
        pytest.param([upload("a", 0, NEVER, UNKNOWN)], [index("a", 4, 5)], id="unknown, and done"),
        pytest.param(
            [upload("a", 0, 1), delete(4, 5), upload("a", 8, 9)],
            [index("a", 2, 3), index(None, 6, 7), index("a", 10, 11)],
            id="brought back",
        ),
        pytest.param(
            [upload("a", 0, 1), call(Kind.YANK, None, 4, 5), call(Kind.RESTORE, "a", 8, 9)],
            [index("a", 2, 3), index(None, 6, 7), index("a", 10, 11)],
            id="restored",
        ),
        pytest.param(
            [upload("a", 0, 1), force("b", 2, 3)],
            [index("b", 4, 5, "bob"), index("a", 4, 6, "carol")],
            id="clients of two servers",
        ),
        pytest.param(
            [upload("a", 0, 1, waited=True), delete(1, 9)], [index(None, 2, 3)], id="deleted since"
        ),
        pytest.param(
            [
                *[upload("a", 0, 1), call(Kind.YANK, None, 2, 3)],
                upload("a", 4, 5, created=False, waited=True),
            ],
            [index(None, 6, 7)],
            id="the same bytes of what is yanked",
        ),
    ],
)
def test_an_index_that_lags_is_sound(calls, reads):
    assert check_reads(calls, reads) == []


@pytest.mark.parametrize(
    ("calls", "reads", "fault"),
    [
        pytest.param([], [index("a", 2, 3)], "nobody had made it so", id="invented"),
        pytest.param([upload("a", 5, 6)], [index("a", 2, 3)], "nobody had", id="from the future"),
        pytest.param([upload("a", 0, 1, FAIL)], [index("a", 2, 3)], "nobody had", id="refused"),
        pytest.param(
            [upload("a", 0, 1)], [index("a", 2, 3), index(None, 4, 5)], "older", id="lost again"
        ),
        pytest.param(
            [upload("a", 0, 1), force("b", 2, 3)],
            [index("a", 4, 5), index("b", 6, 7), index("a", 8, 9)],
            "older",
            id="replaced, and back",
        ),
        pytest.param(
            [upload("a", 0, 1), force("b", 2, 3)],
            [index("b", 4, 5), index("a", 6, 7)],
            "older",
            id="the newer one first",
        ),
        pytest.param(
            [upload("a", 0, 9), force("b", 0, 9)],
            [index("a", 1, 2), index("b", 3, 4), index("a", 5, 6)],
            "older",
            id="back while both are under way",
        ),
        pytest.param(
            [upload("a", 0, 1), delete(2, 3)],
            [index("a", 0, 1), index(None, 4, 5), index("a", 6, 7)],
            "older",
            id="deleted, and back",
        ),
        pytest.param(
            [upload("a", 0, 1, waited=True)], [index(None, 2, 3)], "not", id="missed by a waiter"
        ),
        pytest.param(
            [upload("a", 0, 1), delete(2, 3, waited=True)],
            [index("a", 4, 5)],
            "said to be in the index",
            id="a deletion that was waited for",
        ),
    ],
)
def test_an_index_that_lies_is_found(calls, reads, fault):
    [found] = check_reads(calls, reads)

    assert found.startswith("bob: repodata.json of forge/noarch shows pkg-1.0-0.conda")
    assert fault in found


def test_forms_of_one_generation_must_agree():
    polls = [
        Poll('"1"', '"1"', {"repodata.json": {"a": 1}, "repodata.json.zst": {"a": 1}}),
        Poll('"1"', '"2"', {"repodata.json": {"a": 1}, "repodata.json.zst": {"a": 2}}),
        Poll('"3"', '"3"', {"repodata.json": {"a": 1}, "repodata.json.zst": {"a": 2}}),
    ]

    assert check_polls(polls) == ['repodata.json and repodata.json.zst of "3" differ']


def test_what_breaks_a_call_goes_on_and_leaves_its_outcome_unknown():
    history = History()

    with pytest.raises(OSError, match="gone"), history.call("alice", Kind.UPLOAD, FILE, "a"):
        raise OSError("gone")

    [made] = history.calls
    assert (made.outcome, made.ended) == (UNKNOWN, math.inf)
    assert check(history) == []


def test_a_call_without_a_bearing_on_the_file_is_left_out():
    history = History()

    with history.call("alice", Kind.UPLOAD, FILE, "a") as made:
        made.forget()

    assert history.calls == []


def test_a_register_that_forgets_under_threads_is_found():
    """One that keeps what it is told passes; one that drops a write now and then does not."""
    assert check(use_by_threads(Register())) == []
    assert check(use_by_threads(Register(forgets="5"))) != []


class Register:
    """What a server would do for one file."""

    def __init__(self, forgets=None):
        self.value = None
        self.forgets = forgets
        self.lock = threading.Lock()

    def write(self, value):
        with self.lock:
            if not value.endswith(self.forgets or "-"):
                self.value = value

    def read(self):
        with self.lock:
            return self.value


def use_by_threads(register) -> History:
    history = History()

    def work(client):
        for number in range(20):
            value = f"{client}{number}"
            with history.call(client, Kind.FORCE, FILE, value) as made:
                register.write(value)
                made.ok()
            with history.call(client, Kind.READ, FILE) as made:
                made.read(register.read())

        def listing():
            return {FILE.filename: register.read()}

        history.read_index(client, FILE[:2], "repodata.json", listing)

    threads = [threading.Thread(target=work, args=(client,)) for client in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return history
