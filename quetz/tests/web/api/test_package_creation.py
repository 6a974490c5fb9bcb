import pytest
from sqlalchemy import select

from quetz.db.models import Event
from quetz.testing.packages import build_package
from quetz.tests.web.api.uploading import upload

PACKAGES = "/api/channels/forge/packages"


@pytest.fixture
def forge(alice):
    alice.post("/api/channels", json={"name": "forge", "private": False})


def events(deployment, action):
    with deployment.transaction() as session:
        query = select(Event.actor, Event.subject).where(Event.action == action)
        return [tuple(row) for row in session.execute(query)]


def counted(client):
    return client.get("/api/channels/forge").json()["packages_count"]


@pytest.mark.usefixtures("forge")
def test_a_created_package_is_listed_without_files(alice, anonymous, deployment):
    body = {"name": "numpy", "summary": "Arrays", "description": "Of numbers", "url": "x"}

    made = alice.post(PACKAGES, json=body)

    assert (made.status_code, made.json()) == (201, None)
    files: dict[str, object] = {"platforms": [], "current_version": None, "latest_change": None}
    assert anonymous.get(PACKAGES).json() == [body | files]
    assert anonymous.get(f"{PACKAGES}/numpy/versions").json() == []
    assert counted(alice) == 1
    assert events(deployment, "package.create") == [("alice", "numpy")]


@pytest.mark.usefixtures("forge")
def test_what_was_read_of_a_package_makes_another(alice):
    alice.post(PACKAGES, json={"name": "numpy"})
    read = alice.get(f"{PACKAGES}/numpy").json()
    told = read | {"name": "scipy", "platforms": ["noarch"], "current_version": "1"}

    assert alice.post(PACKAGES, json=told).status_code == 201
    assert alice.get(f"{PACKAGES}/scipy").json() == read | {"name": "scipy"}


@pytest.mark.usefixtures("forge")
@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param({"name": "numpy"}, 409, id="taken"),
        pytest.param({"name": "Numpy"}, 422, id="capital"),
        pytest.param({"name": "__cuda"}, 422, id="virtual"),
        pytest.param({"name": ""}, 422, id="empty"),
        pytest.param({"name": "num\0py"}, 422, id="NUL"),
        pytest.param({"name": "a", "summary": "\0"}, 422, id="NUL in a text"),
        pytest.param({"name": "a", "more": 1}, 422, id="unknown key"),
        pytest.param({}, 422, id="nameless"),
    ],
)
def test_a_package_that_cannot_be_made_leaves_nothing(alice, deployment, body, status):
    alice.post(PACKAGES, json={"name": "numpy"})

    assert alice.post(PACKAGES, json=body).status_code == status
    assert counted(alice) == 1
    assert len(events(deployment, "package.create")) == 1


@pytest.mark.usefixtures("forge")
def test_packages_are_made_by_maintainers(alice, anonymous, make_client):
    bob = make_client("bob")
    alice.post("/api/channels/forge/members", json={"username": "bob", "role": "member"})

    assert bob.post(PACKAGES, json={"name": "numpy"}).status_code == 403
    assert anonymous.post(PACKAGES, json={"name": "numpy"}).status_code == 401
    assert alice.post("/api/channels/none/packages", json={"name": "a"}).status_code == 404
    assert counted(alice) == 0


@pytest.mark.usefixtures("forge")
def test_an_upload_fills_a_created_package_whose_last_file_takes_it_along(alice, tmp_path):
    alice.post(PACKAGES, json={"name": "pkg", "summary": "To come", "url": "https://a.example"})
    package = build_package(tmp_path, about={"summary": "Came"})

    assert upload(alice, None, package).status_code == 201
    filled = alice.get(f"{PACKAGES}/pkg").json()
    assert (filled["summary"], filled["url"]) == ("Came", "https://a.example")
    assert (filled["current_version"], counted(alice)) == ("1.0", 1)

    assert alice.delete(f"{PACKAGES}/pkg/versions/noarch/{package.name}").status_code == 200
    assert alice.get(f"{PACKAGES}/pkg").status_code == 404
    assert counted(alice) == 0


@pytest.mark.usefixtures("forge")
def test_a_package_without_files_stays_until_it_is_deleted(alice, make_client, deployment):
    alice.post(PACKAGES, json={"name": "numpy"})
    bob = make_client("bob")
    alice.post(f"{PACKAGES}/numpy/members", json={"username": "bob", "role": "maintainer"})

    assert bob.delete(f"{PACKAGES}/numpy").status_code == 200
    assert counted(alice) == 0
    assert events(deployment, "package.delete") == [("bob", "numpy")]
    assert alice.post(PACKAGES, json={"name": "numpy"}).status_code == 201
    assert alice.get(f"{PACKAGES}/numpy/members").json() == []
