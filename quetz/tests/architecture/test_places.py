"""Things that may stand in one place only."""

import ast

import pytest

from quetz.tests.architecture.sources import ROOT, calls, is_in, parsed, shown, source_files

NAMES_THAT_SAY_NOTHING = {"utils", "helpers", "common", "manager", "misc", "data", "info"}


@pytest.mark.parametrize(
    ("forbidden", "homes"),
    [
        pytest.param({"commit", "begin"}, ["deployment.py", "migrations"], id="commits"),
        pytest.param(
            {"select"},
            # Entry points are selected, too, and sockets.
            ["db/changes.py", "db/queries", "migrations", "plugins/installed.py"],
            id="select",
        ),
        pytest.param({"HTTPException"}, [], id="HTTPException"),
    ],
)
def test_is_called_only_where_it_belongs(forbidden, homes):
    strays = [
        f"{shown(path, call)} {name}()"
        for path in source_files()
        if not is_in(path, *homes)
        for name, call in calls(path)
        if name in forbidden
    ]

    assert strays == []


def test_module_names_say_what_is_inside():
    vague = [
        str(path.relative_to(ROOT))
        for path in source_files(tests=True)
        if NAMES_THAT_SAY_NOTHING & {path.parent.name, *path.stem.split("_")}
    ]

    assert vague == []


def test_no_middleware_of_the_framework_stands_between_a_request_and_its_answer():
    # It makes a task and a stream for each request, which costs more than all else (and breaks
    # answers that stop early): what is done for every request is pure ASGI.
    strays = [
        str(path.relative_to(ROOT))
        for path in source_files(tests=True)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Name | ast.Attribute | ast.alias)
        and "BaseHTTPMiddleware" in {getattr(node, key, "") for key in ("id", "attr", "name")}
    ]

    assert strays == []
