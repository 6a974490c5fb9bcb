"""Plain HTML pages: of a channel, of a subdir, and of the server itself.

Every text goes through ``html.escape``; names and summaries come from whoever may upload.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote, urlsplit

from quetz import __version__
from quetz.db.base import now_ms
from quetz.web.representations import Representation

# No scripts, no pictures, no frames, no forms: a page is text, links, and its own style.
_STYLE = (
    "body{font-family:sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}"
    "td,th{padding:.2rem 1rem .2rem 0;text-align:left;vertical-align:top}"
)
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


@dataclass(frozen=True)
class Listed:
    """The rows of a table; ``more`` says that there are others."""

    rows: Sequence[Sequence[str]]
    more: bool


def page(title: str, parts: Iterable[str], *, audience: str = "public") -> Representation:
    """Return an HTML page; ``parts`` are HTML already, the title is text."""
    body = (
        "<!doctype html>\n"
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    ).encode("utf-8", "replace")
    return Representation(
        body=body,
        size=len(body),
        etag=f'"{hashlib.sha256(body).hexdigest()[:32]}"'.encode(),
        media_type="text/html; charset=utf-8",
        cache_control=f"{audience}, max-age=0, must-revalidate",
        modified=now_ms(),
        policy=POLICY,
    )


def paragraph(text: str | None) -> str:
    return f"<p>{escape(text)}</p>" if text else ""


def link(path: str, text: str) -> str:
    """Return a link to a path below the page's own; each part is quoted."""
    return f'<a href="{escape(quote(path))}">{escape(text)}</a>'


def outward_link(url: str | None) -> str:
    """Return a link to a web page that a package names; nothing but http and https is one."""
    if not url:
        return ""
    try:
        safe = urlsplit(url).scheme in {"http", "https"} and "\n" not in url
    except ValueError:  # no URL at all
        safe = False
    return f'<a rel="nofollow noreferrer" href="{escape(url)}">{escape(url)}</a>' if safe else ""


def table(headings: Sequence[str], listed: Listed) -> str:
    """Return a table; the cells are HTML already."""
    if not listed.rows:
        return "<p>Nothing is here yet.</p>"
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in listed.rows
    )
    more = f"<p>Only the first {len(listed.rows)} are shown.</p>" if listed.more else ""
    return f"<table><tr>{head}</tr>\n{rows}</table>{more}"


def welcome() -> Representation:
    """Return the page of a server that has no frontend of its own."""
    return page(
        "quetz",
        [
            f"<p>This is quetz {escape(__version__)}, a server of conda packages.</p>",
            "<p>Channels are below <code>get/</code>, the API is below <code>api/</code>.</p>",
            '<p>The API is described in <a href="openapi.json">openapi.json</a>.</p>',
        ],
    )
