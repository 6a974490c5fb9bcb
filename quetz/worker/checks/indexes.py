"""Indexes: marks that wait, and what is published of each switch (I4, I5)."""

import time
from collections.abc import Collection, Iterator

from sqlalchemy.orm import Session

from quetz.conda.filenames import name_of_file
from quetz.conda.patches import PACKAGE_SUFFIX
from quetz.db.base import now_ms
from quetz.db.queries import checks as queries
from quetz.db.queries.index import find_state, list_marks, list_present_marks
from quetz.services.index_checks import is_whole, list_switches
from quetz.services.index_comparisons import FAULTS, Index, compare_index
from quetz.services.publishing import (
    CHANNELDATA,
    EVERYTHING,
    MARKS_AT_ONCE,
    REPODATA,
    SHARDS,
    Files,
    Switch,
    decode_files,
    find_channel_of,
)
from quetz.worker.checks.findings import Finding, Ground, Severity
from quetz.worker.publisher import lease

PATIENCE_MS = 2 * 60 * 1000
"""How long a running server may take to publish a change or to seal an event."""

LOOK_AGAIN_SECONDS = 3.0
"""Longer than a publisher sleeps."""

_FAMILIES = (SHARDS, REPODATA, CHANNELDATA)


def check_indexes(ground: Ground) -> Iterator[Finding]:
    """I5: each index lists what the database has, apart from what is marked."""
    with ground.deployment.transaction() as session:
        switches = list_switches(session)
    for switch in switches:
        # What seems wrong is looked at again, in another state of the database.
        found = _look(ground, switch) and _look(ground, switch)
        ground.looked_at["indexes"] += 1
        if found:
            channel, fault = found
            subject = _subject(channel, switch)
            advice = f"quetz fsck --repair, or quetz reindex {channel}, builds it anew"
            yield Finding("I5", Severity.ERROR, subject, fault, advice, switch)


def _look(ground: Ground, switch: Switch) -> tuple[str, str] | None:
    """Return the channel's name and what is wrong with a switch; None if nothing is."""
    place = (switch.channel_id, switch.subdir, switch.family)
    with ground.deployment.transaction() as session:
        channel = find_channel_of(session, switch)
        marks = list_marks(session, *place, limit=MARKS_AT_ONCE)
        marked = {name for _, name in marks}
        if channel is None or EVERYTHING in marked or len(marks) == MARKS_AT_ONCE:
            return None  # it is gone, or built anew at the next moment
        state = find_state(session, *place)
        if state is not None:
            fault = _fault(ground, session, switch, decode_files(state.files), marked)
        else:
            fault = "" if marked else "it has never been published"
    return (channel.name, fault) if fault else None


def _fault(
    ground: Ground, session: Session, switch: Switch, files: Files, marked: Collection[str]
) -> str:
    store, plugins = ground.deployment.store, ground.deployment.plugins
    try:
        if not is_whole(store, switch, files):
            return "one of its files is missing, cut short or changed"
        if not ground.deep:
            return ""
        found = compare_index(Index(session, store, plugins, switch, files), marked)
    except FAULTS as error:
        return f"one of its files cannot be read: {type(error).__name__}"
    count = f"{found.count:,} entries are not as in the database"
    return f"{count}, such as {found.first}" if found.count else ""


def check_marks(ground: Ground) -> Iterator[Finding]:
    """I4: no change waits for longer than two minutes to be published.

    A mark has no time. It is old if no event of the last two minutes explains it, nobody is at
    its switch, and it is still there a moment later. New hotfixes explain all of a channel.
    """
    with ground.deployment.transaction() as session:
        marks = queries.list_all_marks(session, limit=MARKS_AT_ONCE)
        recent = _changed_lately(session) if marks else set()
    ground.looked_at["marks"] += len(marks)
    old = {
        mark: Switch(channel_id, subdir, family)
        for mark, channel_id, subdir, family, name in marks
        if not recent & {(channel_id, name), (channel_id, PACKAGE_SUFFIX)}
    }
    if not old:
        return
    time.sleep(LOOK_AGAIN_SECONDS)
    with ground.deployment.transaction() as session:
        present = list_present_marks(session, list(old))
        channels = {one: find_channel_of(session, one) for one in set(old.values())}
    for switch in sorted({old[mark] for mark in present}):
        channel = channels[switch]
        with lease(ground.deployment, switch) as is_idle:
            pass
        if channel is not None and is_idle:
            count = sum(old[mark] == switch for mark in present)
            what = f"{count:,} changes wait to be published for more than two minutes"
            advice = "start a server, or look into its log; quetz reindex publishes without one"
            subject = _subject(channel.name, switch)
            yield Finding("I4", Severity.WARNING, subject, what, advice)


def _changed_lately(session: Session) -> set[tuple[int | None, str]]:
    """Return (channel id, name) of what events of the last two minutes are of."""
    found = set[tuple[int | None, str]]()
    for channel_id, subject in queries.stream_changes_since(session, now_ms() - PATIENCE_MS):
        last = (subject or "").rpartition("/")[2]
        names = {last, name_of_file(last)}  # a package, or one of its files
        if last in _FAMILIES:  # it is to be built anew
            names.add(EVERYTHING)
        if name_of_file(last).endswith(PACKAGE_SUFFIX):
            names.add(PACKAGE_SUFFIX)
        found.update((channel_id, name) for name in names)
    return found


def _subject(channel: str, switch: Switch) -> str:
    return "/".join(filter(None, (channel, switch.subdir, switch.family)))
