"""Pages of channels and subdirs for people who look at ``/get/`` with a browser."""

from datetime import UTC, datetime
from html import escape
from urllib.parse import quote

from sqlalchemy.orm import Session

from quetz.db.models import Channel
from quetz.db.queries.files import list_in_subdir, list_subdirs
from quetz.db.queries.packages import PackageFilter, list_package_ids, list_packages
from quetz.db.queries.windows import Window
from quetz.web.markup import Listed, link, outward_link, page, paragraph, table
from quetz.web.representations import Representation

ROWS = 1000
"""How many packages or files a page shows; the API lists them all."""


def channel_page(session: Session, channel: Channel, *, is_folder: bool) -> Representation:
    """Return the page of a channel; ``is_folder``: its links are beside the page's own address."""
    below = "" if is_folder else f"{quote(channel.name)}/"
    subdirs = [
        f"<li>{link(f'{below}{subdir}/index.html', subdir)}</li>"
        for subdir in list_subdirs(session, channel.id)
    ]
    ids = list_package_ids(session, PackageFilter(channel.id), Window(limit=ROWS + 1))
    packages = sorted(list_packages(session, ids[:ROWS]), key=lambda package: package.name)
    rows = [
        (escape(package.name), escape(package.summary or ""), outward_link(package.url))
        for package in packages
    ]
    parts = [
        paragraph(channel.description),
        f"<ul>{''.join(subdirs)}</ul>",
        table(["package", "summary", "home"], Listed(rows, len(ids) > ROWS)),
    ]
    return page(channel.name, parts, audience=_audience(channel))


def subdir_page(session: Session, channel: Channel, subdir: str) -> Representation:
    files = list_in_subdir(session, channel.id, subdir, limit=ROWS + 1)
    rows = [
        (link(filename, filename), f"{size:,}", _day(uploaded_at))
        for filename, size, uploaded_at in files[:ROWS]
    ]
    parts = [
        '<p><a href="../index.html">all packages of the channel</a></p>',
        table(["file", "bytes", "uploaded"], Listed(rows, len(files) > ROWS)),
    ]
    return page(f"{channel.name}/{subdir}", parts, audience=_audience(channel))


def _audience(channel: Channel) -> str:
    return "private" if channel.private else "public"


def _day(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d}"
