"""Hooks of a faulty plugin, as the clients of a server and the readers of its log meet them."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from textwrap import indent

import pytest
from starlette.testclient import TestClient

from quetz.db.models import Event, File, IndexDirty, Package
from quetz.db.queries.channels import get_channel, lock_channel
from quetz.plugins import PluginFailed, load_plugins
from quetz.services.accounts import set_role
from quetz.services.permissions import OPERATOR, Role
from quetz.testing.packages import build_package
from quetz.testing.publishing import publish_all
from quetz.tests.migrations.distributions import Site
from quetz.tests.web.conftest import make_key
from quetz.web.app import create_app

HOOK = """\
import sys
import sqlalchemy as sa
from quetz.plugin_api import Invalid, NotFound, Package, hookimpl

@hookimpl
def {hook}:
{body}
"""


@pytest.fixture
def plug_in(deployment, tmp_path, monkeypatch):
    """Install a plugin with one hook, and have the deployment use it."""
    site = Site(tmp_path / "site")

    def install(hook: str, body: str, name: str = "quetz-foo") -> None:
        site.install(name, {"hooks.py": HOOK.format(hook=hook, body=indent(body, "    "))})
        deployment.plugins = load_plugins([])

    site.folder.mkdir()
    monkeypatch.syspath_prepend(site.folder)
    yield install
    for module in [module for module in sys.modules if module.startswith("quetz_")]:
        del sys.modules[module]


@pytest.fixture
def client(app):
    return TestClient(app, raise_server_exceptions=False)


@pytest.fixture
def upload(client, owner_key, tmp_path):
    """Make a channel, and return a function that uploads packages to it in one request."""
    key = {"X-API-Key": owner_key}
    made = client.post("/api/channels", json={"name": "forge", "private": False}, headers=key)
    assert made.status_code == 201

    def send(*names, of=()):
        packages = [build_package(tmp_path, name=name) for name in names] + [*of]
        files = [("files", (package.name, package.read_bytes())) for package in packages]
        return client.post("/api/channels/forge/files/", files=files, headers=key)

    return send


def stored(deployment) -> dict[str, int]:
    with deployment.transaction() as session:
        models = (File, Package, IndexDirty, Event)
        return {model.__name__: session.query(model).count() for model in models}


RAISING = [
    pytest.param("1 / 0", id="a-fault"),
    pytest.param("raise NotFound('no such thing')", id="an-error-of-ours"),
    pytest.param("raise Invalid('too late')", id="a-refusal"),
    pytest.param("sys.exit('bye')", id="an-exit"),
]


@pytest.mark.parametrize(
    "fault",
    [
        *RAISING,
        pytest.param("session.rollback()", id="a-rollback"),
        pytest.param("session.rollback(); session.execute(sa.text('SELECT 1'))", id="another-one"),
        pytest.param("session.add(Package(channel_id=-1, name='x'))", id="a-row-that-cannot-be"),
        pytest.param(
            "try:\n    session.add(Package(channel_id=-1, name='x')); session.flush()\n"
            "except sa.exc.IntegrityError:\n    pass",
            id="a-failed-flush-that-it-hides",
        ),
    ],
)
def test_a_failure_in_package_published_is_a_500_that_leaves_nothing(
    deployment, plug_in, upload, caplog, fault
):
    plug_in("package_published(session, file)", f"if file.name == 'b':\n{indent(fault, '    ')}")
    before = stored(deployment)

    answer = upload("a", "b")

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert stored(deployment) == before
    assert "plugin 'quetz-foo' failed in package_published" in caplog.messages


def test_a_commit_in_package_published_is_a_500_and_splits_no_file_from_its_mark(
    deployment, plug_in, upload, caplog
):
    plug_in("package_published(session)", "session.commit()")

    answer = upload("a")

    assert answer.status_code == 500
    assert "plugin 'quetz-foo' failed in package_published" in caplog.messages
    left = stored(deployment)
    assert bool(left["File"]) == bool(left["IndexDirty"])


def test_a_statement_that_fails_behind_a_plugins_back_stores_what_it_answers(
    deployment, plug_in, upload
):
    plug_in(
        "package_published(session)",
        "try:\n    session.execute(sa.text('SELECT nothing'))\nexcept sa.exc.DBAPIError:\n    pass",
    )

    answer = upload("a")

    assert stored(deployment)["File"] == (answer.status_code == 201)


def test_what_a_plugin_writes_is_kept_with_the_upload(deployment, plug_in, upload):
    plug_in("package_published(session, file)", "file.build = 'noted'")

    assert upload("a").status_code == 201

    with deployment.transaction() as session:
        assert [file.build for file in session.query(File)] == ["noted"]


def test_a_plugin_may_try_a_statement_in_a_savepoint(deployment, plug_in, upload):
    plug_in(
        "package_published(session, file)",
        "try:\n    with session.begin_nested():\n"
        "        session.execute(sa.text('SELECT nothing'))\n"
        "except sa.exc.DBAPIError:\n    file.build = 'noted'",
    )

    assert upload("a").status_code == 201

    with deployment.transaction() as session:
        assert [file.build for file in session.query(File)] == ["noted"]


def test_a_refusal_in_check_upload_is_shown_to_the_client(plug_in, upload, caplog):
    plug_in("check_upload(archive)", "raise Invalid('not this one')")

    answer = upload("a")

    assert (answer.status_code, answer.json()["message"]) == (422, "not this one")
    assert caplog.messages == []


@pytest.mark.parametrize("fault", [case for case in RAISING if case.id != "a-refusal"])
def test_another_failure_in_check_upload_is_a_500_logged_by_name(
    deployment, plug_in, upload, caplog, fault
):
    plug_in("check_upload(archive)", fault)
    before = stored(deployment)

    answer = upload("a")

    assert answer.status_code == 500
    assert stored(deployment) == before
    assert "plugin 'quetz-foo' failed in check_upload" in caplog.messages


def test_records_are_shown_as_plugins_change_them_and_as_they_were_uploaded(
    client, deployment, plug_in, upload
):
    assert upload("plain").status_code == 201
    publish_all(deployment)
    plug_in(
        "records_published(name, records)",
        "for file in records:\n"
        "    if name == 'gone':\n"
        "        return records.clear()\n"
        "    records[file]['license'] = name",
    )
    assert upload("changed", "gone").status_code == 201
    publish_all(deployment)

    shown, uploaded = (
        client.get(f"/get/forge/noarch/{form}.json").json()["packages.conda"]
        for form in ("repodata", "repodata_from_packages")
    )

    licences = {record["name"]: record.get("license") for record in shown.values()}
    assert licences == {"plain": None, "changed": "changed"}
    assert {record["name"] for record in uploaded.values()} == {"plain", "changed", "gone"}
    assert {record.get("license") for record in uploaded.values()} == {None}


@pytest.mark.parametrize("fault", RAISING)
def test_a_failure_in_records_published_is_logged_by_name(
    deployment, plug_in, upload, caplog, fault
):
    plug_in("records_published(records)", fault)
    assert upload("a").status_code == 201

    with pytest.raises(PluginFailed, match="plugin 'quetz-foo' failed in records_published"):
        publish_all(deployment)

    assert "plugin 'quetz-foo' failed in records_published" in caplog.messages


def test_records_published_is_shown_what_hotfixes_have_left(
    deployment, client, plug_in, upload, tmp_path
):
    fix = {"depends": ["python"], "license": "BSD"}
    document = {"patch_instructions_version": 1, "packages.conda": {"a-1.0-0.conda": fix}}
    hotfixes = build_package(
        tmp_path,
        "forge-repodata-patches",
        files={"noarch/patch_instructions.json": json.dumps(document).encode()},
    )
    plug_in(
        "records_published(records)",
        "for record in records.values():\n    record['depends'].append('six')",
    )

    upload("a", of=[hotfixes])
    publish_all(deployment)

    def read(form):
        return client.get(f"/get/forge/noarch/{form}").json()["packages.conda"]["a-1.0-0.conda"]

    patched, as_uploaded = read("repodata.json"), read("repodata_from_packages.json")
    assert (patched["depends"], patched["license"]) == (["python", "six"], "BSD")
    assert as_uploaded["depends"] == []
    assert "license" not in as_uploaded


@pytest.mark.parametrize("fault", RAISING)
def test_a_failure_in_index_published_is_logged_by_name_and_the_others_are_called(
    deployment, plug_in, upload, caplog, capsys, fault
):
    plug_in("index_published(subdir)", "print('told of', subdir)", name="quetz-bar")
    plug_in("index_published(storage)", fault)
    assert upload("a").status_code == 201

    publish_all(deployment)

    assert "plugin 'quetz-foo' failed in index_published" in caplog.messages
    assert "told of noarch" in capsys.readouterr().out


@pytest.fixture
def copy(client, owner_key, upload):
    """Upload a package, and return a function that copies it into another channel."""
    key = {"X-API-Key": owner_key}
    client.post("/api/channels", json={"name": "stable", "private": False}, headers=key)
    assert upload("a").status_code == 201
    source = "source_channel=forge&source_package=a&subdir=noarch&filename=a-1.0-0.conda"
    return lambda: client.post(f"/api/channels/stable/packages/copy?{source}", headers=key)


def test_a_copy_is_told_to_plugins_as_an_upload_is(deployment, plug_in, copy, capsys):
    plug_in("check_upload(channel, archive)", "print('asked', channel.name, archive.index['name'])")
    plug_in(
        "package_published(session, file, archive)",
        "file.build = archive.index['build'] + '-noted'",
        name="quetz-bar",
    )

    assert copy().status_code == 201

    assert "asked stable a" in capsys.readouterr().out
    with deployment.transaction() as session:
        assert sorted(file.build for file in session.query(File)) == ["0", "0-noted"]


@pytest.mark.parametrize(
    ("hook", "body", "status"),
    [
        pytest.param("check_upload(archive)", "raise Invalid('no')", 422, id="refused"),
        pytest.param("check_upload(archive)", "1 / 0", 500, id="check-fails"),
        pytest.param("package_published(session)", "1 / 0", 500, id="publishing-fails"),
    ],
)
def test_a_plugin_stops_a_copy_and_nothing_of_it_stays(
    deployment, plug_in, copy, hook, body, status
):
    plug_in(hook, body)
    before = stored(deployment)

    assert copy().status_code == status
    assert stored(deployment) == before


ROUTES = """\
from quetz.plugin_api import GuardedRouter, Operation, declares
router = GuardedRouter(tags=["foo"])

@router.get("/api/channels/{channel}/foo", **declares(Operation.CHANNEL_READ))
def read(channel: str) -> str:
    return channel

@router.post("/api/channels/{channel}/foo", **declares(Operation.CHANNEL_PATCH))
def change(channel: str) -> str:
    return channel

return [router]
"""


def test_routes_of_a_plugin_are_refused_as_the_operations_that_they_declare(
    plug_in, deployment, owner_key
):
    plug_in("routers()", ROUTES)
    client = TestClient(create_app(deployment))
    owner, other = {"X-API-Key": owner_key}, {"X-API-Key": make_key(deployment, "bob")}
    for name, private in (("open", False), ("closed", True)):
        body = {"name": name, "private": private}
        assert client.post("/api/channels", json=body, headers=owner).status_code == 201

    answers = {
        name: [
            client.request(method, f"/api/channels/{name}/foo", headers=headers).status_code
            for method in ("GET", "POST")
            for headers in ({}, other, owner)
        ]
        for name in ("open", "closed", "absent")
    }

    assert answers == {
        "open": [200, 200, 200, 401, 403, 200],
        "closed": [401, 404, 200, 401, 404, 200],
        "absent": [401, 404, 404, 401, 404, 404],
    }


CHANGES = """\
from contextlib import suppress
from quetz.plugin_api import Conflict, GuardedRouter, Operation, WriteSession, declares
router = GuardedRouter(tags=["foo"])

def change(session):
    session.connection().execute(sa.text("UPDATE channels SET ttl = 7"))

@router.post("/api/channels/{channel}/by-connection", **declares(Operation.CHANNEL_PATCH))
def change_by_connection(session: WriteSession) -> None:
    change(session)

@router.post("/api/channels/{channel}/after-refusal", **declares(Operation.CHANNEL_PATCH))
def change_after_refusal(session: WriteSession) -> None:
    with suppress(Conflict):
        session.scalar(sa.select(1))
    change(session)

return [router]
"""


@pytest.mark.parametrize("route", ["by-connection", "after-refusal"])
def test_a_route_of_a_plugin_changes_nothing_for_who_lost_his_rights_while_he_waited(
    plug_in, deployment, owner_key, route
):
    plug_in("routers()", CHANGES)
    client = TestClient(create_app(deployment), headers={"X-API-Key": owner_key})
    make_key(deployment, "zoe", Role.OWNER)  # or alice would be the last one
    client.post("/api/channels", json={"name": "forge"})
    path = f"/api/channels/forge/{route}"

    with ThreadPoolExecutor() as pool, deployment.transaction(write=True) as session:
        lock_channel(session, get_channel(session, "forge"))
        set_role(session, OPERATOR, "alice", None)
        sent = pool.submit(client.post, path)
        wait([sent], timeout=1)  # let it come as far as it can

    assert sent.result().status_code == 409
    assert client.get("/api/channels/forge").json()["ttl"] != 7
    assert client.post(path).status_code == 200
    assert client.get("/api/channels/forge").json()["ttl"] == 7
