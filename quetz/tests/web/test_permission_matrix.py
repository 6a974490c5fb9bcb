"""The permission matrix, cell by cell, as requests to the whole application."""

from collections.abc import Iterator

import pytest
from fastapi.routing import iter_route_contexts
from starlette.routing import compile_path

from quetz.services.operations import Operation
from quetz.testing.databases import SqliteDatabases, chosen_dbinit
from quetz.tests.services.permission_matrix import EXPECTED
from quetz.tests.web.permission_requests import (
    DECIDED_WITHIN,
    NO_ROUTE,
    OPTIONAL,
    OUTSIDE_THE_APP,
    OUTSIDE_THE_MATRIX,
    REQUESTS,
)
from quetz.tests.web.permission_world import matrix_on, requests_of
from quetz.web.guard import GuardedRoute


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    """Make the world once: what a request changes is undone after it."""
    folder = tmp_path_factory.mktemp("matrix")
    url = SqliteDatabases(folder, chosen_dbinit()).ready()
    with matrix_on(url, folder) as matrix:
        yield matrix


def test_every_cell_is_asked_or_has_a_reason_not_to_be():
    operations = {operation for operation, _ in EXPECTED["anon"]}

    assert REQUESTS.keys() | NO_ROUTE.keys() == operations
    assert not REQUESTS.keys() & NO_ROUTE.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_each_cell_is_answered_as_the_matrix_says(matrix, name):
    assert matrix.faults(name, EXPECTED[name]) == []


def routes_of(matrix) -> Iterator[tuple[str, GuardedRoute]]:
    """Yield each route with its whole path."""
    for context in iter_route_contexts(matrix.routes):
        assert isinstance(context.original_route, GuardedRoute)
        yield str(context.path), context.original_route


def test_every_operation_has_a_route(matrix):
    declared = {
        Operation((route.openapi_extra or {})["x-operation"]) for _, route in routes_of(matrix)
    }

    elsewhere = {*NO_ROUTE, *DECIDED_WITHIN, *OUTSIDE_THE_APP, *OPTIONAL}
    assert declared | elsewhere == set(Operation)


def test_every_route_is_asked_in_the_matrix(matrix):
    asked = [
        (ask.method, ask.path.partition("?")[0])
        for operation, visibility in EXPECTED["anon"]
        for ask in requests_of(operation, visibility)
    ]

    unasked = {
        f"{method} {path}"
        for path, route in routes_of(matrix)
        for method in route.methods or ()
        if not any(method == one and compile_path(path)[0].fullmatch(other) for one, other in asked)
    }
    assert unasked == OUTSIDE_THE_MATRIX.keys()
