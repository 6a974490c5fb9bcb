"""Pages of channels and subdirs for people who look at ``/get/`` with a browser."""

from datetime import UTC, datetime
from html import escape
from urllib.parse import quote

from sqlalchemy.orm import Session

from quetz.db.models import Channel
from quetz.db.queries.files import list_in_subdir, list_subdirs
from quetz.db.queries.packages import list_lines
from quetz.web.markup import Listed, link, outward_link, page, paragraph, table
from quetz.web.representations import Representation

ROWS = 1000
"""How many packages or files a page shows; the API lists them all."""
SUMMARY_LENGTH = 200  # characters of a summary that are shown


def channel_page(session: Session, channel: Channel, *, is_folder: bool) -> Representation:
    """Return the page of a channel; ``is_folder``: its links are beside the page's own address."""
    below = "" if is_folder else f"{quote(channel.name)}/"
    subdirs = [
        f"<li>{link(f'{below}{subdir}/index.html', subdir)}</li>"
        for subdir in list_subdirs(session, channel.id)
    ]
    packages = list_lines(session, channel.id, summary_length=SUMMARY_LENGTH + 1, limit=ROWS + 1)
    rows = [
        (escape(name), escape(_cut(summary or "")), outward_link(url))
        for name, summary, url in packages[:ROWS]
    ]
    parts = [
        paragraph(channel.description),
        f"<ul>{''.join(subdirs)}</ul>",
        table(["package", "summary", "home"], Listed(rows, len(packages) > ROWS)),
    ]
    return page(channel.name, parts, audience=_audience(channel))


def subdir_page(
    session: Session, channel: Channel, subdir: str, *, is_folder: bool
) -> Representation:
    """Return the page of a subdir; ``is_folder`` as for ``channel_page``."""
    up, below = ("../", "") if is_folder else ("", f"{subdir}/")
    files = list_in_subdir(session, channel.id, subdir, limit=ROWS + 1)
    rows = [
        (
            link(below + filename, filename) + (" (yanked)" if yanked_at is not None else ""),
            f"{size:,}",
            _day(uploaded_at),
        )
        for filename, size, uploaded_at, yanked_at in files[:ROWS]
    ]
    parts = [
        f"<p>{link(f'{up}index.html', 'all packages of the channel')}</p>",
        table(["file", "bytes", "uploaded"], Listed(rows, len(files) > ROWS)),
    ]
    return page(f"{channel.name}/{subdir}", parts, audience=_audience(channel))


def _cut(summary: str) -> str:
    return (
        summary
        if len(summary) <= SUMMARY_LENGTH
        else f"{summary[:SUMMARY_LENGTH]}\N{HORIZONTAL ELLIPSIS}"
    )


def _audience(channel: Channel) -> str:
    return "private" if channel.private else "public"


def _day(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d}"
