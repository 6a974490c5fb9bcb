"""The permission matrix, cell by cell, as requests to the whole application."""

import pytest
from fastapi.routing import iter_route_contexts
from starlette.routing import compile_path

from quetz.services.operations import Operation
from quetz.testing.databases import SqliteDatabases, chosen_dbinit
from quetz.tests.services.permission_matrix import EXPECTED
from quetz.tests.web.permission_requests import (
    DECIDED_WITHIN,
    NO_ROUTE,
    OUTSIDE_THE_APP,
    OUTSIDE_THE_MATRIX,
    REQUESTS,
    UNROUTED_OPERATIONS,
)
from quetz.tests.web.permission_world import matrix_on, requests_of


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


def declared_operations(app) -> set[Operation]:
    return {
        Operation(context.original_route.openapi_extra["x-operation"])
        for context in iter_route_contexts(app.routes)
    }


def test_every_operation_has_a_route(matrix):
    elsewhere = {*NO_ROUTE, *DECIDED_WITHIN, *OUTSIDE_THE_APP, *UNROUTED_OPERATIONS}

    assert declared_operations(matrix.app) | elsewhere == set(Operation)


def test_every_route_is_asked_in_the_matrix(matrix):
    asked = [
        (ask.method, ask.path.partition("?")[0])
        for operation, visibility in EXPECTED["anon"]
        for ask in requests_of(operation, visibility)
    ]

    unasked = {
        f"{method} {context.path}"
        for context in iter_route_contexts(matrix.app.routes)
        for method in context.original_route.methods
        if not any(
            method == one and compile_path(context.path)[0].fullmatch(path) for one, path in asked
        )
    }

    assert unasked == OUTSIDE_THE_MATRIX.keys()
