"""Yanks: files that no index offers any more, and that can still be downloaded (CEP 36)."""

import json

from sqlalchemy.orm import Session

from quetz.crashpoints import crashpoint
from quetz.db.base import now_ms
from quetz.db.models import Channel, File
from quetz.db.queries import channels
from quetz.db.queries.files import find_again
from quetz.errors import FileNotFound
from quetz.services.descriptions import describe_again
from quetz.services.events import record_event
from quetz.services.permissions import Operation, Principal
from quetz.services.publishing import mark_dirty, note_unpublished


def yank_file(
    session: Session, principal: Principal, channel: Channel, file: File, *, reason: str | None
) -> int | None:
    """Take a file out of the indexes; return the number of the change, None if there is none.

    To yank it again changes the reason at most.

    Raises:
        FileNotFound: it was deleted meanwhile.
    """
    file = _locked(session, channel, file)
    at = file.yanked_at or now_ms()
    return _change(session, principal, channel, file, yanked_at=at, reason=reason)


def restore_file(
    session: Session, principal: Principal, channel: Channel, file: File
) -> int | None:
    """Put a file back into the indexes; return as ``yank_file``.

    Raises:
        FileNotFound: it was deleted meanwhile.
    """
    file = _locked(session, channel, file)
    return _change(session, principal, channel, file, yanked_at=None, reason=None)


def _locked(session: Session, channel: Channel, file: File) -> File:
    path = f"{channel.name}/{file.subdir}/{file.filename}"
    channels.lock_channel(session, channel)
    found = find_again(session, file.id)
    if found is None:
        raise FileNotFound(path)
    return found


def _change(
    session: Session,
    principal: Principal,
    channel: Channel,
    file: File,
    *,
    yanked_at: int | None,
    reason: str | None,
) -> int | None:
    before, was_yanked = describe_yank(file.yanked_at, file.yank_reason), file.yanked_at is not None
    if (file.yanked_at, file.yank_reason) == (yanked_at, reason):
        note_unpublished(session, channel.id, file.subdir, file.name)
        return None
    file.yanked_at, file.yank_reason = yanked_at, reason
    record_event(
        session,
        principal,
        Operation.VERSION_YANK,
        channel=channel,
        subject=f"{file.subdir}/{file.filename}",
        before=before,
        after=describe_yank(file.yanked_at, file.yank_reason),
    )
    session.flush()
    if was_yanked == (yanked_at is not None):  # another reason, which no index tells
        note_unpublished(session, channel.id, file.subdir, file.name)
        return None
    describe_again(session, file.package_id, file.about)
    crashpoint("yank.changing")
    return mark_dirty(session, channel.id, file.subdir, file.name)


def describe_yank(yanked_at: int | None, reason: str | None) -> str:
    """Return what an event says of a file before or after a change."""
    return json.dumps({"yanked": yanked_at is not None, "reason": reason})
