"""What clients asked and were told, and whether one server could have told them so.

A `History` is filled by any number of threads::

    history = History()
    with history.call("alice", Kind.UPLOAD, File("forge", "noarch", name), sha256) as call:
        answer = upload(...)
        call.ok(created=answer.status == 201)  # or call.fail(), if the name was taken

A call that neither succeeds nor fails, since its connection broke, may have happened, now or at any
time later, or never. `check` then names whatever cannot be explained:

- Each file is a register. Some order of its calls, each at a moment between its beginning and its
  end, has to lead to all answers (Wing and Gong, "Testing and verifying concurrent objects", 1993).
- An index may lag. What it shows of a file was brought about by a call that had begun; a client
  that has seen a newer state never sees an older one again; and who waited for the index with
  ``?wait_for_index=`` never misses his change.
"""

import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import pairwise
from typing import NamedTuple

Clock = Callable[[], float]
Listing = Mapping[str, str]
"""What a form of an index says: ``{"numpy-2.1.0-0.conda": sha256}``."""


class File(NamedTuple):
    channel: str
    subdir: str
    filename: str


class Kind(Enum):
    """What a call does to a file. A copy is an upload; a package or a channel, one call a file."""

    UPLOAD = auto()
    FORCE = auto()
    DELETE = auto()
    DROP = auto()
    """Delete it with its channel, which forgets whose bytes had the name."""
    YANK = auto()
    RESTORE = auto()
    READ = auto()


class Outcome(Enum):
    OK = auto()
    FAIL = auto()
    """It was refused, and the state of the file is the reason: its name is taken, or it is gone."""
    UNKNOWN = auto()


@dataclass(frozen=True)
class Call:
    """One call, from its beginning to its end, in seconds; ``value`` is a SHA-256, None if gone.

    ``created`` says of an upload whether it was answered that it changed something. ``waited``:
    the index was said to show the change.
    """

    client: str
    kind: Kind
    file: File
    value: str | None
    began: float
    ended: float = math.inf
    outcome: Outcome = Outcome.UNKNOWN
    created: bool | None = None
    waited: bool = False

    @property
    def may_change(self) -> bool:
        return self.kind is not Kind.READ and self.outcome is not Outcome.FAIL

    @property
    def shown(self) -> str | None:
        """What an index shows of the file when this was the last change."""
        gone = self.kind in {Kind.DELETE, Kind.DROP, Kind.YANK}
        return None if gone else self.value

    def __str__(self) -> str:
        value = "" if self.value is None else f" {self.value[:12]}"
        return f"{self.client}: {self.kind.name} {'/'.join(self.file)}{value} {self.outcome.name}"


@dataclass(frozen=True)
class IndexRead:
    """One form of the index of a subdir, as one client read it."""

    client: str
    channel: str
    subdir: str
    form: str
    listing: Listing
    began: float
    ended: float

    def __str__(self) -> str:
        return f"{self.client}: {self.form} of {self.channel}/{self.subdir}"


@dataclass
class OpenCall:
    """A call under way, whose outcome is not known yet."""

    outcome: Outcome = Outcome.UNKNOWN
    value: str | None = None
    created: bool | None = None
    waited: bool = False
    forgotten: bool = False

    def ok(self, *, created: bool | None = None, waited: bool = False) -> None:
        self.outcome, self.created, self.waited = Outcome.OK, created, waited

    def read(self, value: str | None) -> None:
        """Say which bytes were read, by their SHA-256; None if there were none."""
        self.outcome, self.value = Outcome.OK, value

    def fail(self) -> None:
        self.outcome = Outcome.FAIL

    def forget(self) -> None:
        """Leave the call out: it had no effect, for a reason that no state of the file explains."""
        self.forgotten = True


@dataclass
class History:
    """Calls and reads of several clients; ``client`` names one who asks one server."""

    clock: Clock = time.monotonic
    calls: list[Call] = field(default_factory=list)
    reads: list[IndexRead] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def call(
        self, client: str, kind: Kind, file: File, value: str | None = None
    ) -> Iterator[OpenCall]:
        """Record a call; what is raised within leaves its outcome unknown, and goes on."""
        began, call = self.clock(), OpenCall(value=value)
        try:
            yield call
        finally:
            ended = math.inf if call.outcome is Outcome.UNKNOWN else self.clock()
            done = Call(
                client,
                kind,
                file,
                call.value,
                began,
                ended,
                call.outcome,
                created=call.created,
                waited=call.waited,
            )
            if not call.forgotten:
                with self._lock:
                    self.calls.append(done)

    def read_index(
        self, client: str, place: tuple[str, str], form: str, read: Callable[[], Listing]
    ) -> Listing:
        """Record what ``read`` gives for a form of the index of ``(channel, subdir)``."""
        began = self.clock()
        listing = read()
        seen = IndexRead(client, *place, form, listing, began, self.clock())
        with self._lock:
            self.reads.append(seen)
        return listing


@dataclass(frozen=True)
class Poll:
    """The forms under one switch, read one after another, between two looks at its ``ETag``.

    ``forms`` has what each says, in a shape in which equal is equal.
    """

    etag_before: str
    etag_after: str
    forms: Mapping[str, object]


def check(history: History) -> list[str]:
    """Return what no order of the calls explains, a line each; nothing if all is well."""
    return [*check_files(history.calls), *check_reads(history.calls, history.reads)]


def check_files(calls: Iterable[Call]) -> list[str]:
    """Return the files whose answers no order of their calls explains."""
    found = []
    for file, those in _by_file(calls).items():
        blocking = _find_blocking(sorted(those, key=lambda call: call.began))
        if blocking is not None:
            found.append(f"{'/'.join(file)}: no order of {len(those)} calls explains '{blocking}'")
    return found


def check_reads(calls: Iterable[Call], reads: Iterable[IndexRead]) -> list[str]:
    """Return the reads of indexes that show what nobody made, go back, or miss what was awaited."""
    writes = {
        file: [call for call in those if call.may_change] for file, those in _by_file(calls).items()
    }
    histories: dict[tuple[str, ...], list[IndexRead]] = defaultdict(list)
    for read in sorted(reads, key=lambda read: read.ended):
        histories[read.client, read.channel, read.subdir, read.form].append(read)
    found = []
    for seen in histories.values():
        place = seen[0].channel, seen[0].subdir
        names = {file.filename for file in writes if file[:2] == place}
        names.update(*(read.listing for read in seen))
        for name in sorted(names):
            changes = writes.get(File(*place, name), [])
            found += [f"{read} shows {name}: {why}" for read, why in _faults(changes, seen, name)]
    return found


def check_polls(polls: Iterable[Poll]) -> list[str]:
    """Return where forms of one generation differ. One that flipped meanwhile says nothing."""
    found = []
    for poll in polls:
        if poll.etag_before != poll.etag_after:
            continue
        for (one, first), (other, second) in pairwise(poll.forms.items()):
            if first != second:
                found.append(f"{one} and {other} of {poll.etag_before} differ")
    return found


class _State(NamedTuple):
    """The bytes that the file has, and those that its name is reserved for."""

    live: str | None = None
    reserved: str | None = None


def _after(state: _State, call: Call) -> _State | None:
    """Return the state that ``call`` leaves; None if its answer would have been another."""
    if call.kind is Kind.READ:
        return state if call.value == state.live else None
    if call.kind in {Kind.UPLOAD, Kind.FORCE}:
        return _after_upload(state, call)
    if call.kind is Kind.DROP:
        return _State()
    if call.outcome is Outcome.FAIL:
        return state if state.live is None else None
    if state.live is None:
        # Whoever got no answer may have been refused.
        return state if call.outcome is Outcome.UNKNOWN else None
    return _State(None, state.live) if call.kind is Kind.DELETE else state


def _after_upload(state: _State, call: Call) -> _State | None:
    is_same = state.live == call.value
    taken = call.kind is Kind.UPLOAD and state.reserved not in {None, call.value}
    if call.outcome is Outcome.UNKNOWN:
        return state if taken else _State(call.value, call.value)
    if call.outcome is Outcome.FAIL:
        return state if taken else None
    if taken or call.created is is_same:
        return None
    return _State(call.value, call.value)


def _find_blocking(calls: Sequence[Call]) -> Call | None:
    """Look for an order of the calls, by their beginnings; return the first that fits in none.

    A set of calls is a number with a bit for each. Which calls were placed, and the state after
    them, is all that matters for the rest, so nothing is tried twice.
    """
    needed = sum(1 << n for n, call in enumerate(calls) if call.outcome is not Outcome.UNKNOWN)
    best = 0
    stack = [(0, _State())]
    tried = set(stack)
    while stack:
        placed, state = stack.pop()
        best = max(best, placed & needed, key=int.bit_count)
        if placed & needed == needed:
            return None
        steps = {(placed | 1 << n, after) for n, after in _possible(calls, placed, state)}
        stack += steps - tried
        tried |= steps
    left = needed & ~best
    return calls[(left & -left).bit_length() - 1]


def _possible(calls: Sequence[Call], placed: int, state: _State) -> Sequence[tuple[int, _State]]:
    """Return what can be next, with the state that it leaves."""
    found = []
    for number in _may_be_next(calls, placed):
        after = _after(state, calls[number])
        if after is not None and calls[number].kind is Kind.READ:
            return [(number, after)]  # it changes nothing, so nothing is gained by placing it later
        if after is not None:
            found.append((number, after))
    return found


def _may_be_next(calls: Sequence[Call], placed: int) -> Iterator[int]:
    """Yield the calls that began before any of those that are left had ended."""
    first_end = math.inf
    number = (~placed & (placed + 1)).bit_length() - 1
    while number < len(calls) and calls[number].began <= first_end:
        if not placed >> number & 1:
            first_end = min(first_end, calls[number].ended)
            yield number
        number += 1


def _faults(
    changes: Sequence[Call], reads: Sequence[IndexRead], name: str
) -> Iterator[tuple[IndexRead, str]]:
    """Yield the reads of one client whose entry for a file is wrong, and why."""
    values: list[tuple[str | None, IndexRead]] = []
    for read in reads:
        value = read.listing.get(name)
        if value is not None and not any(
            call.shown == value and call.began <= read.ended for call in changes
        ):
            yield read, "nobody had made it so"
        elif _is_missed(changes, read, value):
            yield read, "a change that was said to be in the index is not"
        elif not _may_follow(changes, values, value):
            yield read, "it is older than what the client had seen"
        values.append((value, read))


def _is_missed(changes: Sequence[Call], read: IndexRead, value: str | None) -> bool:
    """Tell whether a change that its client waited for is neither shown nor was changed again."""
    return any(
        call.waited
        and call.created is not False  # else it may be an earlier yank's turn to be seen
        and call.ended < read.began
        and not any(other.shown == value and other.ended > call.began for other in changes)
        for call in changes
    )


def _may_follow(
    changes: Sequence[Call], seen: Sequence[tuple[str | None, IndexRead]], value: str | None
) -> bool:
    """Tell whether the file may have become ``value`` after all that a client has seen of it.

    That takes a change to it that did not end before the last value seen could come to be; and if
    it was seen before that, a change other than the one that was seen then.
    """
    last = seen[-1][0] if seen else None
    if last == value or all(was is None for was, _ in seen):  # it was not there at the beginning
        return True
    earliest = min((call.began for call in changes if call.shown == last), default=-math.inf)
    again = [call for call in changes if call.shown == value and call.ended > earliest]
    first = next((read for was, read in seen if was == value), None)
    if first is None or value is None:
        return bool(again)
    before = [call for call in changes if call.shown == value and call.began <= first.ended]
    return any(one is not other for one in before for other in again)


def _by_file(calls: Iterable[Call]) -> dict[File, list[Call]]:
    found: dict[File, list[Call]] = defaultdict(list)
    for call in calls:
        found[call.file].append(call)
    return found
