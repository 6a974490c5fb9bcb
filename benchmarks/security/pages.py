"""REL-19: texts of packages and channels stay texts on pages, and every answer has its headers."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, urlsplit

from benchmarks.figures import Figure
from benchmarks.security.places import CHANNEL, Place, Reply, package, running

MARK = "xss7"
FIELDS = ("summary", "description", "home", "dev_url", "doc_url", "license")
_QUOTES = ("", '"', "'", "`", "-->", "</title>", "</textarea>", "</script>", "</style>", "]]>")
_TAGS = (
    "<script>{0}()</script>",
    "<img src=x onerror={0}()>",
    "<svg/onload={0}()>",
    "<a href=javascript:{0}()>x</a>",
    "<iframe srcdoc='<script>{0}()</script>'>",
    "<b {0}=1 onmouseover={0}()>",
    " onfocus={0}() autofocus ",
    "javascript:{0}()",
    "[x](javascript:{0}())",
    "data:text/html,<script>{0}()</script>",
    "&lt;script&gt;{0}()&lt;/script&gt;",
)
PAYLOADS = [start + tag.format(MARK) for start in _QUOTES for tag in _TAGS]


def measure(scale: float, folder: Path) -> Iterator[Figure]:
    """Put each payload into each field, and read every page; ``scale`` is of the payloads."""
    payloads = PAYLOADS[: max(5, int(len(PAYLOADS) * scale))]
    with running(folder / "server") as place:
        refused = _plant(place, payloads)
        replies = list(_ask(place, payloads))
    pages = [(path, reply) for path, reply in replies if _is_page(reply)]
    live = [f"{path}: {found}" for path, reply in pages for found in _live(reply.body.decode())]
    bare = sorted({f"{path}: {reply.status}" for path, reply in replies if not _has_headers(reply)})
    print(*live[:20], *bare[:40], sep="\n", end="\n" if live or bare else "", flush=True)
    basis = f"{len(payloads)} payloads, {refused} of them refused somewhere, {len(pages)} pages"
    yield Figure("REL-19 payloads that live on a page", [len(live)], "places", 0, basis)
    basis = f"of {len(replies)}"
    yield Figure("REL-19 answers without nosniff or a policy", [len(bare)], "answers", 0, basis)


def _plant(place: Place, payloads: list[str]) -> int:
    """Return how many payloads a field refused."""
    refused = 0
    for number, payload in enumerate(payloads):
        about = dict.fromkeys(FIELDS, payload)
        name, content = package(
            place.deployment.parent, f"pkg{number}", about=about, license=payload
        )
        reply = place.ask("POST", f"/api/channels/{CHANNEL}/upload/{name}", content)
        body = {"name": f"c{number}", "private": False, "description": payload[:300]}
        other = place.post_json("/api/channels", body)
        place.post_json("/api/api-keys", {"description": payload, "roles": []})
        refused += reply.status != 201 or other.status != 201
    return refused


def _ask(place: Place, payloads: list[str]) -> Iterator[tuple[str, Reply]]:
    """Ask for every route, for every page that a page leads to, and for what is not there."""
    described = place.ask("GET", "/openapi.json").json()["paths"]
    seen: set[str] = set()
    waiting = [_sound(path) for path, methods in described.items() if "get" in methods]
    waiting += ["/", "/index.html", "/docs", "/nothing", f"/get/{CHANNEL}", f"/get/{CHANNEL}/"]
    waiting += [f"/get/{CHANNEL}/{rest}" for rest in _REST]
    waiting += [f"/{quote(payload)}" for payload in payloads]
    waiting += [f"/api/packages/search/?q={quote(payload)}" for payload in payloads[:20]]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for key in ("", None):
            reply = place.ask("GET", path, key=key, Accept="text/html,*/*")
            yield path, reply
            if _is_page(reply):
                waiting += [_within(path, link) for link in _links(reply.body.decode())]
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"):
        yield f"{method} /api/channels", place.ask(method, "/api/channels", b"{")
        yield f"{method} /get", place.ask(method, f"/get/{CHANNEL}/noarch/repodata.json", b"")


_REST = (
    "index.html", "noarch", "noarch/", "noarch/index.html", "noarch/repodata.json", "rss.xml",
    "channeldata.json", "noarch/pkg0-1.0-0.conda", "noarch/nothing", "notices.json",
)  # fmt: skip


def _sound(path: str) -> str:
    values = {"channel": CHANNEL, "package": "pkg0", "platform": "noarch",
              "filename": "pkg0-1.0-0.conda", "username": "alice"}  # fmt: skip
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], "x"), path)


def _is_page(reply: Reply) -> bool:
    return reply.headers.get("content-type", "").startswith("text/html")


def _has_headers(reply: Reply) -> bool:
    sniffing = reply.headers.get("x-content-type-options") == "nosniff"
    return sniffing and "default-src" in reply.headers.get("content-security-policy", "")


def _links(page: str) -> list[str]:
    links = re.findall(r"""href=["']?([^"'> ]+)""", page)
    return [
        link for link in links if not urlsplit(link).scheme and not link.startswith(("#", "//"))
    ]


def _within(path: str, link: str) -> str:
    folder = path.partition("?")[0].rpartition("/")[0]
    return link if link.startswith("/") else f"{folder}/{link}"


class _Finder(HTMLParser):
    """Finds elements and attributes that came out of a payload."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self._within_code = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._within_code = tag in {"script", "style"}
        for name, value in attrs:
            text = (value or "").strip().lower()
            runs = name.startswith("on") or name in {"srcdoc", "style"} or MARK in name
            leads = name in {"href", "src", "action", "formaction", "data"}
            scheme = re.match(r"[a-z]+:", re.sub(r"\s", "", text))
            foreign = scheme is not None and scheme[0] not in {"http:", "https:", "mailto:"}
            if (runs and MARK in f"{name}{text}") or (leads and foreign):
                self.found.append(f"<{tag} {name}={json.dumps(value)[:80]}>")

    def handle_endtag(self, tag: str) -> None:
        self._within_code = False

    def handle_data(self, data: str) -> None:
        if self._within_code and MARK in data:
            self.found.append(f"code with {data[:80]!r}")


def _live(page: str) -> list[str]:
    finder = _Finder()
    finder.feed(page)
    finder.close()
    return finder.found
