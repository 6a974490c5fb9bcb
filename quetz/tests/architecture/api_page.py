"""The page of the API, written from its description: ``make docs``."""

import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from fastapi import FastAPI

from quetz.tests.architecture.sources import ROOT
from quetz.web.app import core_routes
from quetz.web.openapi import INTRODUCTION, describe

PAGE = ROOT / "docs/reference/api.md"
HEAD = f"""\
# HTTP API

`make docs` writes this page from the description that a server gives at `/openapi.json`.

{INTRODUCTION}"""
JSON = "application/json"
ERRORS = "application/problem+json"


def page() -> str:
    app = FastAPI(openapi_url=None, routes=core_routes())
    document = describe(app)
    routes = [
        (route["tags"][0], f"{method.upper()} {path}", route)
        for path, methods in document["paths"].items()
        for method, route in methods.items()
    ]
    parts = [HEAD]
    for tag, group in groupby(sorted(routes, key=lambda route: route[0]), lambda route: route[0]):
        parts.append(f"## {tag[0].upper()}{tag[1:]}")
        for _, name, route in group:
            parts += _route(name, route)
    parts.append("## Shapes")
    for name, schema in sorted(document["components"]["schemas"].items()):
        parts += _shape(name, schema)
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _route(name: str, route: dict[str, Any]) -> Iterator[str]:
    yield f"### `{name}`"
    yield "\n\n".join(filter(None, [f"{route['summary']}.", route.get("description", "")]))
    parameters = [
        [
            f"`{one['name']}`",
            one["in"],
            _type(one["schema"]),
            _default(one, one["schema"]),
            one.get("description", ""),
        ]
        for one in route.get("parameters", [])
    ]
    if parameters:
        yield _table(["parameter", "in", "type", "default", "meaning"], parameters)
    body = route.get("requestBody")
    if body:
        yield "Body: " + " or ".join(
            f"{_type(content['schema'])} as `{media}`" for media, content in body["content"].items()
        )
    answers = [
        [status, _content(answer), answer["description"]]
        for status, answer in route["responses"].items()
        if ERRORS not in answer.get("content", {})
    ]
    yield _table(["answer", "body", "meaning"], answers)
    refusals = [
        status
        for status, answer in route["responses"].items()
        if ERRORS in answer.get("content", {})
    ]
    if refusals:
        yield f"Errors: {', '.join(refusals)}."


def _shape(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"### {name}"
    if schema.get("description"):
        yield schema["description"]
    required = schema.get("required", [])
    rows = [
        [
            f"`{key}`",
            _type(of),
            _default({"required": key in required}, of),
            of.get("description", ""),
        ]
        for key, of in schema.get("properties", {}).items()
    ]
    yield _table(["key", "type", "default", "meaning"], rows) if rows else _type(schema)


def _content(answer: dict[str, Any]) -> str:
    return " or ".join(
        _type(content.get("schema", {})) + ("" if media == JSON else f" as `{media}`")
        for media, content in answer.get("content", {}).items()
    )


def _default(parameter: dict[str, Any], schema: dict[str, Any]) -> str:
    if parameter.get("required"):
        return "required"
    return f"`{json.dumps(schema['default'])}`" if "default" in schema else ""


def _type(schema: dict[str, Any]) -> str:
    """Return a schema in a few words: ``list of [ChannelOut](#channelout)``."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    kind = schema.get("format") or schema.get("type") or "any JSON"
    limits = [
        f"{sign} {schema[key]}"
        for key, sign in (("minimum", "≥"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
        if key in schema
    ]
    return " ".join([kind, *limits])


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = [[cell.replace("\n", " ").replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
