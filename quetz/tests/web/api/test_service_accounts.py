import pytest

from quetz.services.permissions import Role

PATH = "/api/service-accounts"
KEYS = f"{PATH}/robot/api-keys"


@pytest.fixture
def mia(make_client):
    """A client of a maintainer of the server."""
    return make_client("mia", role=Role.MAINTAINER)


@pytest.fixture
def robot(mia):
    """The service account robot, and a client's headers with a key of it."""
    assert mia.post(PATH, json={"username": "robot"}).status_code == 201
    made = mia.post(KEYS, json={"description": "for builds"})
    assert made.status_code == 201
    return {"X-API-Key": made.json()["key"]}


def test_a_service_account_is_made_listed_and_deleted(mia):
    made = mia.post(PATH, json={"username": "robot", "role": "member"})

    assert made.status_code == 201
    assert set(made.json()) == {"id", "username", "role"}
    assert mia.get(PATH).json() == [made.json()]
    assert mia.post(PATH, json={"username": "robot"}).status_code == 409

    deleted = mia.delete(f"{PATH}/robot")

    assert (deleted.status_code, deleted.json()) == (200, None)
    assert mia.get(PATH).json() == []
    assert mia.delete(f"{PATH}/robot").status_code == 404
    assert mia.post(PATH, json={"username": "robot"}).status_code == 409


def test_a_key_acts_as_the_account_until_it_is_revoked(mia, robot, anonymous):
    assert anonymous.get("/api/users", headers=robot).json()[0]["username"] == "robot"
    [key] = mia.get(KEYS).json()
    assert key["description"] == "for builds"
    assert robot["X-API-Key"].startswith(f"qz-{key['key']}-")

    mia.delete(f"/api/api-keys/{key['key']}")

    assert anonymous.get("/api/users", headers=robot).status_code == 401
    assert mia.get(KEYS).json() == []


def test_the_keys_of_a_deleted_account_are_dead(mia, robot, anonymous):
    mia.delete(f"{PATH}/robot")

    assert anonymous.get("/api/users", headers=robot).status_code == 401
    assert mia.get(KEYS).status_code == 404
    assert mia.post(KEYS, json={"description": ""}).status_code == 404


def test_a_key_may_be_scoped_to_a_channel(mia, robot, anonymous):
    mia.post("/api/channels", json={"name": "forge"})
    member = {"username": "robot", "role": "maintainer"}
    mia.post("/api/channels/forge/members", json=member)
    roles = [{"channel": "forge", "package": None, "role": "maintainer"}]

    made = mia.post(KEYS, json={"description": "", "roles": roles})
    above = mia.post(KEYS, json={"description": "", "roles": [roles[0] | {"role": "owner"}]})

    assert (made.status_code, above.status_code) == (201, 403)
    assert made.json()["roles"] == roles
    headers = {"X-API-Key": made.json()["key"]}
    assert anonymous.get("/api/channels/forge", headers=headers).status_code == 200


@pytest.mark.usefixtures("robot")
def test_a_key_of_an_account_is_as_limited_as_its_maker_asked(mia, anonymous):
    limits = {"verbs": ["read"], "read_only": True}

    made = mia.post(KEYS, json={"description": "reads", **limits})

    assert {name: made.json()[name] for name in limits} == limits
    assert mia.get(KEYS).json()[0] == made.json() | {"key": made.json()["key"].split("-")[1]}
    headers = {"X-API-Key": made.json()["key"]}
    refused = anonymous.post("/api/channels", json={"name": "new"}, headers=headers)
    assert refused.status_code == 403


@pytest.mark.parametrize("role", ["owner", "maintainer"])
def test_only_an_owner_makes_an_elevated_account_and_whoever_is_below_it_no_key(
    mia, make_client, role
):
    owner = make_client("owner", role=Role.OWNER)

    refused = mia.post(PATH, json={"username": "robot", "role": role})
    made = owner.post(PATH, json={"username": "robot", "role": role})

    assert (refused.status_code, made.status_code) == (403, 201)
    allowed = 403 if role == "owner" else 201
    assert mia.post(KEYS, json={"description": ""}).status_code == allowed
    assert owner.post(KEYS, json={"description": ""}).status_code == 201
    assert mia.delete(f"{PATH}/robot").status_code == 403


@pytest.mark.usefixtures("robot")
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", PATH), ("POST", PATH), ("DELETE", f"{PATH}/robot"), ("GET", KEYS), ("POST", KEYS)],
)
def test_service_accounts_are_not_for_users_without_an_elevated_role(
    alice, anonymous, method, path
):
    body = {"username": "other", "description": ""}

    answer = alice.request(method, path, json=body)
    unknown = alice.request(method, path.replace("robot", "nobody"), json=body)

    assert answer.status_code == 403
    assert unknown.content == answer.content
    assert anonymous.request(method, path, json=body).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"username": ""},
        {"username": "a b"},
        {"username": "a\0b"},
        {"username": "x" * 65},
        {"username": "operator"},
        {"username": "Anonymous"},
        {"username": "robot", "role": "admin"},
    ],
)
def test_a_wrong_account_is_refused(mia, body):
    assert mia.post(PATH, json=body).status_code == 422
    assert mia.get(PATH).json() == []


def test_a_person_is_no_service_account(mia):
    assert mia.delete(f"{PATH}/mia").status_code == 404
    assert mia.get(f"{PATH}/mia/api-keys").status_code == 404
    assert mia.post(f"{PATH}/mia/api-keys", json={"description": ""}).status_code == 404


@pytest.mark.usefixtures("robot")
def test_who_made_a_key_of_an_account_does_not_rise_with_it(mia, make_client):
    boss = make_client("boss", role=Role.OWNER)
    rise = {"role": "owner"}

    refused = boss.put("/api/users/robot/role", json=rise)
    [key] = mia.get(KEYS).json()
    mia.delete(f"/api/api-keys/{key['key']}")

    assert refused.status_code == 409
    assert "revoke them first" in refused.json()["detail"]
    assert boss.put("/api/users/robot/role", json=rise).status_code == 200
    assert boss.post(KEYS, json={"description": ""}).status_code == 201


@pytest.mark.parametrize(("verb", "status"), [("read", 200), ("manage", 403)])
def test_listing_keys_of_an_account_takes_the_verb_read_alone(mia, robot, anonymous, verb, status):
    made = mia.post("/api/keys", json={"description": "", "verbs": [verb]}).json()

    assert anonymous.get(KEYS, headers={"X-API-Key": made["key"]}).status_code == status
