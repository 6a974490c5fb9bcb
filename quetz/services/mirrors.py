"""Mirrors: where others keep copies of a channel, as they told us; nobody is asked."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from quetz.db.models import Channel, ChannelMirror
from quetz.db.queries import mirrors as queries
from quetz.db.queries.channels import lock_channel
from quetz.errors.packages import BadMirror, MirrorExists, MirrorNotFound
from quetz.services.events import record_event
from quetz.services.permissions import Operation, Principal

_URL_LENGTH: Final = 2000
_URL: Final = re.compile(r"[!-~]+")  # RFC 3986 leaves other characters to be percent-encoded
_GET: Final = re.compile(r"(?<=/)get(?=/|$)")
_TOKEN: Final = re.compile(r"/t/+[^/]")  # conda puts tokens there, also below a sub-path
_ID: Final = re.compile(r"[0-9a-f-]{36}")


@dataclass(frozen=True)
class NewMirror:
    """A mirror's URLs; the endpoints are derived from ``url`` where they are left out."""

    url: str
    api_endpoint: str | None = None
    metrics_endpoint: str | None = None


def list_mirrors(session: Session, channel: Channel) -> Sequence[ChannelMirror]:
    """Return the mirrors in the order in which they were registered."""
    return queries.list_mirrors(session, channel.id)


def register_mirror(
    session: Session, principal: Principal, channel: Channel, new: NewMirror
) -> None:
    """Add a mirror to those that the channel tells of.

    Raises:
        BadMirror: one of the URLs is none, holds a credential, or cannot be derived.
        MirrorExists: the channel has a mirror of the same URL.
    """
    mirror = ChannelMirror(
        channel_id=channel.id,
        url=_checked("url", new.url),
        api_endpoint=_endpoint("api_endpoint", new.api_endpoint, new.url, "api/channels"),
        metrics_endpoint=_endpoint(
            "metrics_endpoint", new.metrics_endpoint, new.url, "metrics/channels"
        ),
    )
    lock_channel(session, channel)
    try:
        with session.begin_nested():
            session.add(mirror)
    except IntegrityError:
        raise MirrorExists(channel.name, new.url) from None
    record_event(
        session,
        principal,
        Operation.CHANNEL_MIRRORS_REGISTER,
        channel=channel,
        subject=new.url,
    )
    session.flush()


def remove_mirror(session: Session, principal: Principal, channel: Channel, public_id: str) -> None:
    """Raises MirrorNotFound."""
    lock_channel(session, channel)
    url = None
    if _ID.fullmatch(public_id):  # PostgreSQL refuses to compare some other texts
        url = queries.remove_mirror(session, channel.id, public_id)
    if url is None:
        raise MirrorNotFound(channel.name)
    record_event(session, principal, Operation.CHANNEL_MIRRORS_DELETE, channel=channel, subject=url)
    session.flush()


def _endpoint(field: str, given: str | None, url: str, instead: str) -> str:
    """Return the URL given, or the mirror's with another path where it says ``get``."""
    if given is not None:
        return _checked(field, given)
    parts = urlsplit(url)
    path, found = _GET.subn(instead, parts.path)
    if not found:
        raise BadMirror(field, "cannot be derived from a url without /get/ in its path; give it")
    return parts._replace(path=path).geturl()


def _checked(field: str, url: str) -> str:
    """Return the URL if it may be shown to everyone who sees the channel."""
    if len(url) > _URL_LENGTH or not _URL.fullmatch(url):
        reason = f"give 1 to {_URL_LENGTH} characters of ASCII, without spaces"
        raise BadMirror(field, reason)
    try:
        parts = urlsplit(url)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # such as a port that is no number
        sound = False
    if not sound:
        raise BadMirror(field, "is not an http or https URL")
    if "@" in parts.netloc or _TOKEN.search(unquote(parts.path)) or "?" in url or "#" in url:
        reason = "leave out user, password, token, query and fragment: everyone may read it"
        raise BadMirror(field, reason)
    return url
