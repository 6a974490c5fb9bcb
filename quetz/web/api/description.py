"""The description of the API, for people and programs (OpenAPI 3.1)."""

from typing import Any

from fastapi import Request

from quetz.services.permissions import Operation
from quetz.web import openapi
from quetz.web.guard import GuardedRouter, declares

router = GuardedRouter(tags=["description"])


@router.get("/openapi.json", include_in_schema=False, **declares(Operation.OPENAPI))
def describe(request: Request) -> dict[str, Any]:
    app = request.app
    if app.openapi_schema is None:
        app.openapi_schema = openapi.describe(app)
    document: dict[str, Any] = app.openapi_schema
    return document
