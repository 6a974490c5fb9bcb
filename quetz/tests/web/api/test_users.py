import json

import pytest
from sqlalchemy import func, select
from starlette.testclient import TestClient

from quetz.db.models import Event
from quetz.db.queries.users import get_user
from quetz.services.api_keys import NamedScope, create_api_key, find_scopes
from quetz.services.permissions import OPERATOR, Role, principal_of
from quetz.services.sessions import start_session
from quetz.testing.factories import add_member, make_channel, make_package, make_user
from quetz.tests.web.conftest import open_browser
from quetz.web.app import create_app


@pytest.fixture
def owner(make_client):
    return make_client("owner", role=Role.OWNER)


@pytest.fixture
def mia(make_client):
    """A client of a maintainer of the server."""
    return make_client("mia", role=Role.MAINTAINER)


@pytest.fixture
def bob(make_client):
    """A client of a user without a role."""
    return make_client("bob")


@pytest.fixture
def deleted(deployment):
    with deployment.transaction(write=True) as session:
        make_user(session, "deleted", disabled_at=1)
    return "deleted"


@pytest.fixture
def browse(deployment, anonymous):
    """Return a function that logs a user in, and returns his browser."""

    def browse(username):
        with deployment.transaction(write=True) as session:
            cookie = start_session(session, get_user(session, username), "dummy")
        return open_browser(anonymous.app, cookie)

    return browse


def names(answer):
    return [user["username"] for user in answer.json()]


def events_of(deployment):
    with deployment.transaction() as session:
        return session.scalar(select(func.count()).select_from(Event))


ROUTES = [
    ("GET", "/api/users/{}"),
    ("GET", "/api/users/{}/role"),
    ("PUT", "/api/users/{}/role"),
    ("DELETE", "/api/users/{}"),
    ("GET", "/api/users/{}/channels"),
    ("GET", "/api/users/{}/packages"),
    ("GET", "/api/paginated/users/{}/channels"),
    ("GET", "/api/paginated/users/{}/packages"),
]


# Reading


def test_a_user_is_told_with_exactly_the_keys_that_clients_know(bob, deployment):
    with deployment.transaction() as session:
        public_id = get_user(session, "bob").public_id

    user = bob.get("/api/users/bob")

    expected = {
        "id": public_id,
        "username": "bob",
        "profile": {"name": "bob", "avatar_url": ""},
    }
    assert (user.status_code, user.json()) == (200, expected)
    assert bob.get("/api/users").json() == [expected]
    assert bob.get("/api/users/bob/role").json() == {"role": None}
    assert bob.get("/api/users/bob/channels").json() == []
    assert bob.get("/api/users/bob/packages").json() == []


@pytest.mark.usefixtures("deleted", "alice", "bob")
def test_elevated_users_list_all_who_were_not_deleted_and_others_themselves(mia, alice, bob):
    assert names(mia.get("/api/users")) == ["alice", "bob", "mia"]
    assert names(alice.get("/api/users")) == ["alice"]
    assert names(bob.get("/api/users", params={"q": "alice"})) == []


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        ("li", ["Alina", "alice"]),
        ("ALI", ["Alina", "alice"]),
        ("_", ["x_y"]),
        ("%", []),
        ("", ["Alina", "alice", "mia", "x_y"]),
    ],
)
@pytest.mark.usefixtures("alice")
def test_users_are_found_by_a_part_of_their_name_in_any_case(mia, deployment, q, expected):
    with deployment.transaction(write=True) as session:
        make_user(session, "Alina")
        make_user(session, "x_y")

    assert names(mia.get("/api/users", params={"q": q})) == expected


@pytest.mark.usefixtures("alice", "bob", "deleted")
def test_a_page_of_users_counts_all_that_the_caller_may_see(mia, bob):
    page = mia.get("/api/paginated/users", params={"skip": 1, "limit": 1}).json()
    own = bob.get("/api/paginated/users").json()

    assert page["pagination"] == {"skip": 1, "limit": 1, "all_records_count": 3}
    assert [user["username"] for user in page["result"]] == ["bob"]
    assert own["pagination"] == {"skip": 0, "limit": 20, "all_records_count": 1}


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.usefixtures("bob", "deleted")
def test_who_may_not_read_others_does_not_learn_which_names_exist(alice, anonymous, method, path):
    def answers(client):
        return [
            client.request(method, path.format(name), json={"role": None})
            for name in ("bob", "nobody", "deleted", "a%00b")
        ]

    assert [answer.status_code for answer in answers(alice)] == [403] * 4
    assert len({answer.content for answer in answers(alice)}) == 1
    assert [answer.status_code for answer in answers(anonymous)] == [401] * 4
    assert len({answer.content for answer in answers(anonymous)}) == 1


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_name_that_nobody_has_or_a_deleted_user_had_is_not_found(owner, deleted, method, path):
    for name in ("nobody", deleted, "a%00b", "%ED%A0%80", "a" * 500):
        assert owner.request(method, path.format(name), json={"role": None}).status_code == 404


def test_only_who_is_logged_in_lists_users(anonymous):
    assert anonymous.get("/api/users").status_code == 401
    assert anonymous.get("/api/paginated/users").status_code == 401


# Channels and packages


@pytest.fixture
def memberships(bob, deployment):
    """Bob in a public channel, in a private one, and in a package of another private one."""
    with deployment.transaction(write=True) as session:
        user = get_user(session, "bob")
        open_, closed = make_channel(session, "open"), make_channel(session, "closed", private=True)
        other = make_channel(session, "other", private=True)
        package = make_package(session, other, "pkg")
        add_member(session, open_, user, "member")
        add_member(session, closed, user, "owner")
        add_member(session, package, user, "maintainer")
        add_member(session, make_package(session, open_, "tool"), user, "owner")


@pytest.mark.usefixtures("memberships")
def test_roles_in_channels_and_packages_are_told_to_the_user_and_to_elevated_ones(bob, mia):
    channels = [{"name": "closed", "role": "owner"}, {"name": "open", "role": "member"}]
    packages = [
        {"name": "tool", "channel_name": "open", "role": "owner"},
        {"name": "pkg", "channel_name": "other", "role": "maintainer"},
    ]

    for client in (bob, mia):
        assert client.get("/api/users/bob/channels").json() == channels
        assert client.get("/api/users/bob/packages").json() == packages
        for kind, rows in (("channels", channels), ("packages", packages)):
            path = f"/api/paginated/users/bob/{kind}"
            page = client.get(path, params={"skip": 1, "limit": 5}).json()
            assert page["pagination"] == {"skip": 1, "limit": 5, "all_records_count": 2}
            assert page["result"] == rows[1:]
    assert mia.get("/api/users/mia/channels").json() == []


@pytest.mark.usefixtures("memberships")
@pytest.mark.parametrize(
    ("scope", "channels", "packages"),
    [
        pytest.param(("closed", None), ["closed", "open"], ["tool"], id="channel"),
        pytest.param(("other", "pkg"), ["open"], ["tool", "pkg"], id="package"),
    ],
)
def test_a_scoped_key_tells_nothing_of_private_channels_beyond_its_scopes(
    bob, deployment, scope, channels, packages
):
    channel, package = scope
    with deployment.transaction(write=True) as session:
        user = get_user(session, "bob")
        named = [NamedScope(channel, package, Role.MEMBER)]
        scopes = find_scopes(session, principal_of(user), named)
        key = create_api_key(
            session, OPERATOR, user, description="", expires_at=None, scopes=scopes
        ).key
    headers = {"X-API-Key": key}

    def listed(kind):
        rows = bob.get(f"/api/users/bob/{kind}", headers=headers).json()
        page = bob.get(f"/api/paginated/users/bob/{kind}", headers=headers).json()
        assert page["result"] == rows
        assert page["pagination"]["all_records_count"] == len(rows)
        return [row["name"] for row in rows]

    assert listed("channels") == channels
    assert listed("packages") == packages


# Roles


@pytest.mark.usefixtures("bob")
def test_a_role_is_set_read_and_in_force_with_the_next_request(owner, bob):
    for role in ("maintainer", "member", None):
        changed = owner.put("/api/users/bob/role", json={"role": role})

        assert (changed.status_code, changed.json()) == (200, None)
        assert owner.get("/api/users/bob/role").json() == {"role": role}
        assert bob.get("/api/users/owner").status_code == (200 if role == "maintainer" else 403)


@pytest.mark.parametrize(
    "body", [{}, {"role": "admin"}, {"role": 1}, [], None, "owner", {"role": "Owner"}]
)
@pytest.mark.usefixtures("bob")
def test_a_wrong_role_is_refused(owner, deployment, body):
    owner.put("/api/users/bob/role", json={"role": "member"})
    former = events_of(deployment)

    answer = owner.put("/api/users/bob/role", content=json.dumps(body))

    assert answer.status_code == 422
    assert owner.get("/api/users/bob/role").json() == {"role": "member"}
    assert events_of(deployment) == former


@pytest.mark.usefixtures("bob")
def test_a_maintainer_gives_and_takes_the_role_member_only(mia, owner, deployment):
    former = events_of(deployment)

    assert mia.put("/api/users/bob/role", json={"role": "member"}).status_code == 200
    assert mia.put("/api/users/bob/role", json={"role": "maintainer"}).status_code == 403
    assert mia.put("/api/users/owner/role", json={"role": None}).status_code == 403
    assert mia.put("/api/users/mia/role", json={"role": "owner"}).status_code == 403
    assert mia.put("/api/users/mia/role", json={"role": None}).status_code == 403

    assert events_of(deployment) == former + 1
    roles = [owner.get(f"/api/users/{name}/role").json()["role"] for name in ("bob", "mia")]
    assert roles == ["member", "maintainer"]


def test_the_last_owner_of_the_server_stays(owner, browse):
    demoted = owner.put("/api/users/owner/role", json={"role": "member"})
    deleted = browse("owner").delete("/api/users/owner")

    assert (demoted.status_code, deleted.status_code) == (409, 409)
    assert demoted.json()["detail"].startswith("the server must keep one owner")
    assert owner.get("/api/users/owner/role").json() == {"role": "owner"}


# Deleting


def test_a_deleted_user_is_out_with_the_next_request(owner, bob, browse, deployment):
    browser = browse("bob")
    assert browser.get("/api/me").status_code == bob.get("/api/users/bob").status_code == 200
    former = events_of(deployment)

    answer = owner.delete("/api/users/bob")

    assert (answer.status_code, answer.json()) == (200, None)
    assert [client.get("/api/users").status_code for client in (browser, bob)] == [401, 401]
    assert owner.get("/api/users/bob").status_code == 404
    assert owner.delete("/api/users/bob").status_code == 404
    assert events_of(deployment) == former + 1


@pytest.mark.usefixtures("bob", "owner")
def test_a_user_deletes_himself_by_a_browser_and_by_no_key(bob, browse, owner):
    assert bob.delete("/api/users/bob").status_code == 403

    browser = browse("bob")
    assert browser.delete("/api/users/bob").status_code == 200

    assert browser.get("/api/me").status_code == 401
    assert bob.get("/api/users").status_code == 401
    assert owner.get("/api/users/bob").status_code == 404


@pytest.mark.usefixtures("bob")
@pytest.mark.parametrize(("verb", "status"), [("manage", 200), ("read", 403), ("delete", 403)])
def test_a_key_deletes_a_user_by_the_verb_manage_alone(owner, anonymous, verb, status):
    made = owner.post("/api/keys", json={"description": "", "verbs": [verb]}).json()

    answer = anonymous.delete("/api/users/bob", headers={"X-API-Key": made["key"]})

    assert answer.status_code == status


@pytest.mark.usefixtures("bob")
def test_a_maintainer_deletes_those_below_him_only(mia, owner, make_client):
    make_client("max", role=Role.MAINTAINER)

    assert mia.delete("/api/users/max").status_code == 403
    assert mia.delete("/api/users/owner").status_code == 403
    assert mia.delete("/api/users/mia").status_code == 403
    assert mia.delete("/api/users/bob").status_code == 200

    assert names(owner.get("/api/users")) == ["max", "mia", "owner"]


def test_a_deleted_user_is_shown_nowhere_in_a_channel(owner, bob, deployment):
    owner.post("/api/channels", json={"name": "forge"})
    owner.post("/api/channels/forge/members", json={"username": "bob", "role": "owner"})
    assert owner.get("/api/channels/forge").json()["members_count"] == 2

    owner.delete("/api/users/bob")

    members = owner.get("/api/channels/forge/members").json()
    assert [member["user"]["username"] for member in members] == ["owner"]
    assert owner.get("/api/channels/forge").json()["members_count"] == 1
    assert owner.get("/api/channels").json()[0]["members_count"] == 1


@pytest.mark.parametrize("url_token", [True, False])
def test_a_key_that_only_reads_reads_its_own_account_and_changes_none(
    owner, bob, anonymous, deployment, url_token
):
    with deployment.transaction(write=True) as session:
        made = create_api_key(
            session,
            OPERATOR,
            get_user(session, "owner"),
            description="",
            expires_at=None,
            scopes=None,
            read_only=not url_token,
        )
    prefix = f"/t/{made.key}" if url_token else ""
    headers = {} if url_token else {"X-API-Key": made.key}
    reader = TestClient(create_app(deployment), headers=headers)

    assert reader.get(f"{prefix}/api/users/owner").status_code == 200
    assert names(reader.get(f"{prefix}/api/users")) == ["owner"]
    assert reader.get(f"{prefix}/api/users/bob").status_code == 403
    assert reader.delete(f"{prefix}/api/users/bob").status_code == 403
    role = reader.put(f"{prefix}/api/users/bob/role", json={"role": "member"})
    assert role.status_code == 403
    assert bob.get("/api/users/bob").status_code == 200
