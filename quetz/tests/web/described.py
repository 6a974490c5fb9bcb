"""A client that holds every answer against the description of the API."""

import re
from dataclasses import dataclass
from typing import Any

import fastjsonschema
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.testclient import TestClient

from quetz.web.openapi import describe

# What answers in front of all routes, and is described for none.
BEFORE_ROUTES = {405, 421}


class DescribedClient(TestClient):
    """Fails on an answer whose status or JSON is not in the description."""

    def request(self, method: str, url: Any, **options: Any) -> Any:
        answer = super().request(method, url, **options)
        for one in [*answer.history, answer]:
            check(self.app, one.request.method, one.request.url.path, one)
        return answer


def check(app: Any, method: str, path: str, answer: Any) -> None:
    description = _description(_framework(app))
    found = description.find(method, path)
    if found is None or answer.status_code in BEFORE_ROUTES:
        return
    status = str(answer.status_code)
    said = f"{method} {found.template} answers {status}"
    assert status in found.responses, f"{said}, which is not described"
    media_type = answer.headers.get("content-type", "").partition(";")[0]
    if media_type.endswith("json") and method != "HEAD":
        content = found.responses[status].get("content", {})
        assert media_type in content, f"{said} as {media_type}, which is not described"
        description.validator(found, status, media_type)(answer.json())


@dataclass(frozen=True)
class Found:
    """A described route: its path with parameters, and its answers by status."""

    template: str
    method: str
    responses: dict[str, Any]


class Description:
    """The document of an application, for looking routes up in."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._validators: dict[tuple[str, str, str, str], Any] = {}
        paths = [path for path in document["paths"] if not path.startswith("/get/")]
        # Those with fewer parameters first, which is how they are matched.
        self._patterns = [
            (path, re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))))
            for path in sorted(paths, key=lambda path: (path.count("{"), path))
        ]

    def find(self, method: str, path: str) -> Found | None:
        path = re.sub(r"^/t/[^/]*", "", path)
        for template, pattern in self._patterns:
            described = self._document["paths"][template].get(method.lower())
            if described is not None and pattern.fullmatch(path):
                return Found(template, method.lower(), described["responses"])
        return None

    def validator(self, found: Found, status: str, media_type: str) -> Any:
        key = (found.template, found.method, status, media_type)
        if key not in self._validators:
            schema = found.responses[status]["content"][media_type]["schema"]
            whole = {**schema, "components": self._document["components"]}
            self._validators[key] = fastjsonschema.compile(whole)
        return self._validators[key]


def _framework(app: Any) -> FastAPI:
    while not isinstance(app, FastAPI):
        app = getattr(app, "_app", None) or app.app
    return app


_descriptions: dict[tuple[Any, ...], Description] = {}


def _description(app: FastAPI) -> Description:
    """Return the description of an application; most tests have one with the same routes."""
    routes = tuple(id(context.original_route) for context in iter_route_contexts(app.routes))
    if routes not in _descriptions:
        _descriptions[routes] = Description(describe(app))
    return _descriptions[routes]
