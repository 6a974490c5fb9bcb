"""The description of the API: what FastAPI knows of the routes, and what holds for all of them."""

import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from quetz.services.operations import RULES, Operation, Place, Rule, Takes
from quetz.web.guard import BY_COOKIE, COOKIE, OPERATION, SAFE_METHODS, SECURITY

INTRODUCTION = """\
A server for conda packages.

**Who asks** is told by one of: the header `X-API-Key`; `Authorization: Bearer` or `Basic` with an
API key as password; a path that begins with `/t/<key>/`, which only reads; a login's cookie. A
credential that is expired, revoked or unknown counts as none.

**Changes by a cookie** need the header `X-CSRF` with the token of `GET /api/csrf-token`, and
`Origin` with the server's own address, which browsers send by themselves. API keys need neither.

**Errors** are problem details (RFC 9457) that also have the keys `reason` and `message`. What a
caller may not see is answered as what does not exist: 401 without a valid credential, else 404.
A caller who sees a thing and may not do the deed gets 403, and is told which role it takes.
"""

PROBLEM = {
    "title": "Problem",
    "description": "Problem details (RFC 9457), with the two keys that conda prints.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "reason", "message"],
    "properties": {
        "type": {"type": "string", "examples": ["about:blank"]},
        "title": {"type": "string", "examples": ["Not Found"]},
        "status": {"type": "integer", "examples": [404]},
        "detail": {
            "description": "A sentence; for a malformed request, what is wrong with which part.",
            "anyOf": [
                {"type": "string"},
                {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["loc", "msg", "type"],
                        "properties": {
                            "loc": {
                                "type": "array",
                                "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
                            },
                            "msg": {"type": "string"},
                            "type": {"type": "string"},
                        },
                    },
                },
            ],
        },
        "reason": {"type": "string", "examples": ["Not Found"]},
        "message": {"type": "string"},
    },
}

CREDENTIALS = {
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
    "basic": {"type": "http", "scheme": "basic", "description": "An API key as password."},
    COOKIE: {
        "type": "apiKey",
        "in": "cookie",
        "name": "__Host-session",
        "description": "A login by a browser; `session` where `[session] https_only` is off. "
        "Changes need the header `X-CSRF` too.",
    },
}

# What path parameters look like.
EXAMPLES = {
    "channel": "forge",
    "package": "numpy",
    "platform": "linux-64",
    "subdir": "linux-64",
    "filename": "numpy-2.1.0-py312h1_0.conda",
    "file": "repodata.json.zst",
    "shard": f"{'0' * 64}.msgpack.zst",
    "username": "alice",
}

REFUSALS = {
    401: "No valid credential, and what is asked for takes one or is not there",
    403: "The caller sees it and may not do this; the problem names the role it takes",
    404: "There is none, or none that the caller may see",
    409: "It exists already, or something else stands against it",
    413: "The body is larger than a limit or a quota allows",
    422: "A part of the request is malformed, or what was sent is refused",
    429: "Too many requests; `Retry-After` says for how many seconds to wait",
    503: "The database or the store is away, or the schema changed; ask again later",
    507: "The disk is full",
}

# What files and pages are sent as.
_CONTENTS: dict[str, dict[str, Any]] = {
    "application/json": {"type": "object"},
    "application/octet-stream": {"type": "string", "format": "binary"},
    "application/zstd": {"type": "string", "format": "binary"},
    "text/html": {"type": "string"},
}


@dataclass(frozen=True)
class Download:
    """A route below ``/get/``, which FastAPI does not know."""

    summary: str
    description: str
    operation: Operation
    media_types: tuple[str, ...]

    def describe(self, path: str, method: str) -> dict[str, Any]:
        content = {media_type: {"schema": _CONTENTS[media_type]} for media_type in self.media_types}
        responses = {
            "200": {"description": "All of it; it has a strong `ETag`", "content": content},
            "206": {"description": "The range that was asked for", "content": content},
            "304": {"description": "The client has it (`If-None-Match`, `If-Modified-Since`)"},
            "416": {"description": "There is no such range"},
        }
        if method == "head":  # no body, and no range (RFC 9110, 9.3.2 and 14.2)
            responses = {
                "200": {"description": "What GET answers with, without its body"},
                "304": responses["304"],
            }
        return {
            "tags": ["downloads"],
            "summary": self.summary,
            "description": self.description,
            "parameters": [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in re.findall(r"{(\w+)}", path)
            ],
            "responses": responses,
            OPERATION: self.operation.value,
        }


_CHANNEL_PAGE = Download(
    "Read the page of a channel",
    "Lists its packages.",
    Operation.CHANNEL_INDEX_HTML,
    ("text/html",),
)
DOWNLOADS = {
    "/get/{channel}": _CHANNEL_PAGE,
    "/get/{channel}/": _CHANNEL_PAGE,
    "/get/{channel}/{file}": Download(
        "Read a file of a channel",
        "`channeldata.json`, `notices.json`, or a page: `index.html`, or the name of a subdir.",
        Operation.CHANNEL_REPODATA,
        ("application/json", "text/html"),
    ),
    "/get/{channel}/{subdir}/": Download(
        "Read the page of a subdir",
        "Lists its files.",
        Operation.CHANNEL_INDEX_HTML,
        ("text/html",),
    ),
    "/get/{channel}/{subdir}/{file}": Download(
        "Read an index, a package or a page",
        "`.json` is JSON, `.zst` is zstd, `index.html` is a page, a package is its bytes.",
        Operation.CHANNEL_DOWNLOAD_FILE,
        ("application/json", "application/zstd", "application/octet-stream", "text/html"),
    ),
    "/get/{channel}/{subdir}/shards/{shard}": Download(
        "Read a shard",
        "`{sha256}.msgpack.zst`, as `repodata_shards.msgpack.zst` names it (CEP 16).",
        Operation.CHANNEL_REPODATA,
        ("application/zstd",),
    ),
}


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of all routes, those of plugins included."""
    document = get_openapi(
        title=app.title, version=app.version, description=INTRODUCTION, routes=app.routes
    )
    document["paths"] |= {
        path: {method: deepcopy(download.describe(path, method)) for method in ("get", "head")}
        for path, download in DOWNLOADS.items()
    }
    for path, method, route in _routes(document):
        rule = RULES[Operation(route[OPERATION])]
        _word(route)
        _sort_parameters(path, route)
        route.setdefault(SECURITY, _security(rule))
        route["description"] = "\n\n".join(filter(None, [route.get("description"), _takes(rule)]))
        answers = {str(status): _answer(status) for status in _refusals(path, method, route, rule)}
        if "422" in route["responses"]:
            route["responses"].pop("422")  # FastAPI's own shape, which is not sent
        route["responses"] = dict(sorted({**answers, **route["responses"]}.items()))
    components = document.setdefault("components", {})
    components["securitySchemes"] = CREDENTIALS
    schemas = components.setdefault("schemas", {})
    for unsent in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unsent, None)
    schemas["Problem"] = PROBLEM
    return document


def _word(route: dict[str, Any]) -> None:
    """Put into words what FastAPI leaves bare."""
    route["summary"] = route["summary"].capitalize()  # "List Channels", from a function's name
    for parameter in route.get("parameters", ()):
        if parameter["name"] in EXAMPLES:
            parameter.setdefault("example", EXAMPLES[parameter["name"]])
    for answer in route["responses"].values():
        if answer["description"] == "Successful Response":
            answer["description"] = "Done"
        for content in answer.get("content", {}).values():
            content["schema"] = content.get("schema") or {"type": "null"}


def _sort_parameters(path: str, route: dict[str, Any]) -> None:
    """Let those of the path come first, in its order: FastAPI puts those of dependencies last."""
    places = {name: place for place, name in enumerate(re.findall(r"{(\w+)", path))}
    if "parameters" in route:
        route["parameters"].sort(key=lambda one: places.get(one["name"], len(places)))


def _routes(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            yield path, method.upper(), route


def _security(rule: Rule) -> list[dict[str, list[str]]]:
    """Return what a caller may show; the empty one says that a public channel takes none."""
    if rule.takes is Takes.BROWSER:
        return BY_COOKIE
    credentials: list[dict[str, list[str]]] = [{name: []} for name in CREDENTIALS]
    if rule.takes is not Takes.NOTHING:
        return credentials
    return [] if rule.place is Place.SERVER else [{}, *credentials]


def _takes(rule: Rule) -> str:
    if rule.takes is not Takes.NOTHING:
        return f"Takes {rule.needed}."
    return "" if rule.place is Place.SERVER else "Takes that the caller may see it."


def _refusals(path: str, method: str, route: dict[str, Any], rule: Rule) -> list[int]:
    """Return the statuses of the errors that a route may answer with."""
    writes = method not in SAFE_METHODS
    may = {
        401: rule.takes is not Takes.NOTHING or "{" in path,
        403: rule.takes is not Takes.NOTHING or writes,
        404: "{" in path or writes,
        409: writes,
        413: writes,
        422: "{" in path or writes or "parameters" in route,
        429: True,
        503: True,
        507: writes,
    }
    return [status for status, holds in may.items() if holds]


def _answer(status: int) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        "description": REFUSALS[status],
        "content": {"application/problem+json": {"schema": schema}},
    }
