"""Every kind of bad archive, through both upload routes of the whole application."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from quetz.db.models import Event, File, Package
from quetz.deployment import Deployment
from quetz.testing.bad_archives import BAD_ARCHIVES, FILE_NAMES


def send_raw(client: TestClient, path: Path, filename: str) -> Any:
    return client.post(f"/api/channels/forge/upload/{filename}", content=path.read_bytes())


def send_form(client: TestClient, path: Path, filename: str) -> Any:
    files = {"files": (filename, path.read_bytes())}
    return client.post("/api/channels/forge/files/", files=files)


def rows_and_files(deployment: Deployment) -> tuple[int, int, int, list[Any], list[Path]]:
    staging = deployment.path / "store" / "staging"
    with deployment.transaction() as session:
        rows = [session.query(model).count() for model in (File, Package, Event)]
    objects = list(deployment.store.list_objects())
    staged = [path for path in staging.rglob("*") if path.is_file() and path.stat().st_size]
    return (rows[0], rows[1], rows[2], objects, staged)


@pytest.mark.parametrize("send", [send_raw, send_form])
def test_every_bad_archive_is_refused_with_its_fault_named_and_leaves_nothing(
    send: Callable[[TestClient, Path, str], Any],
    app: Any,
    owner_key: str,
    deployment: Deployment,
    tmp_path: Path,
) -> None:
    client = TestClient(app, headers={"X-API-Key": owner_key})
    client.post("/api/channels", json={"name": "forge", "private": False})
    before = rows_and_files(deployment)
    wrong = []

    for name, kind in BAD_ARCHIVES.items():
        if kind.category == FILE_NAMES:
            continue  # a URL cannot carry such a name to the route
        folder = tmp_path / name.replace("/", "_")[:100]
        folder.mkdir(parents=True, exist_ok=True)
        path, filename = kind.build(folder)
        answer = send(client, path, filename)
        path.unlink()
        if answer.status_code != 422 or kind.fault not in str(answer.json()["detail"]):
            wrong.append((name, answer.status_code, answer.text))

    assert wrong == []
    assert rows_and_files(deployment) == before
