"""Uploads to a server whose database has no room left: refused whole, and taken later."""

from contextlib import closing

import pytest
from sqlalchemy import event, func, select

from quetz.db.models import Event, File
from quetz.services.channels import NewChannel, create_channel
from quetz.services.permissions import OPERATOR
from quetz.testing.packages import build_package
from quetz.testing.publishing import publish_all

LARGE = {"description": "x" * 60_000}
"""A row with it fits into no page that is there."""


@pytest.fixture
def databases(_all_databases):
    return _all_databases("sqlite")


@pytest.fixture
def channel(deployment):
    with deployment.transaction(write=True) as session:
        create_channel(session, OPERATOR, NewChannel("forge", private=False))
    return "/api/channels/forge"


class Room:
    """How large an SQLite database may become: as it is, or without a limit."""

    def __init__(self, engine):
        self._engine = engine
        self.is_full = False
        event.listen(engine, "checkout", self._limit)

    def close(self):
        event.remove(self._engine, "checkout", self._limit)

    def _limit(self, connection, *_):
        most = 1 << 30
        if self.is_full:
            [most] = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {most}")


@pytest.fixture
def room(deployment):
    with closing(Room(deployment.engine)) as room:
        yield room


def send(client, channel, path, **options):
    return client.post(f"{channel}/upload/{path.name}", content=path.read_bytes(), **options)


def count_rows(deployment):
    with deployment.transaction() as session:
        return [session.scalar(select(func.count()).select_from(row)) for row in (File, Event)]


def test_a_full_database_refuses_an_upload_whole(deployment, owner_client, channel, room, tmp_path):
    before = count_rows(deployment)
    room.is_full = True

    answer = send(owner_client, channel, build_package(tmp_path, about=LARGE))

    assert answer.status_code == 507
    assert answer.headers["Retry-After"]
    assert "disk is full" in answer.json()["detail"]
    assert count_rows(deployment) == before


def test_a_form_is_refused_whole_by_a_full_database(
    deployment, owner_client, channel, room, tmp_path
):
    packages = [build_package(tmp_path, f"pkg{number}", about=LARGE) for number in range(3)]
    form = [("files", (path.name, path.read_bytes())) for path in packages]
    before = count_rows(deployment)
    room.is_full = True

    answer = owner_client.post(f"{channel}/files/", files=form)

    assert answer.status_code == 507
    assert count_rows(deployment) == before


def test_a_full_database_is_read(deployment, owner_client, channel, room, tmp_path):
    path = build_package(tmp_path)
    send(owner_client, channel, path)
    publish_all(deployment)

    room.is_full = True

    assert owner_client.get(f"/get/forge/noarch/{path.name}").content == path.read_bytes()
    assert path.name in owner_client.get("/get/forge/noarch/repodata.json").text


def test_an_upload_is_taken_once_there_is_room(deployment, owner_client, channel, room, tmp_path):
    path = build_package(tmp_path, about=LARGE)
    room.is_full = True
    refused = send(owner_client, channel, path)

    room.is_full = False
    taken = send(owner_client, channel, path)
    publish_all(deployment)

    assert (refused.status_code, taken.status_code) == (507, 201)
    assert path.name in owner_client.get("/get/forge/noarch/repodata.json").text
