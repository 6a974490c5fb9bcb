import pytest
from sqlalchemy import select

from quetz.db.models import Channel, File, User
from quetz.testing.factories import make_channel, make_file, make_package

PACKAGE = {
    "name": "numpy",
    "summary": "Arrays",
    "description": "Arrays of numbers",
    "url": "https://example.org/numpy",
    "platforms": ["linux-64", "noarch"],
    "current_version": "1.10",
    "latest_change": "2026-01-02T03:04:05.678000+00:00",
}
PACKAGES = "/api/channels/forge/packages"
PAGES = "/api/paginated/channels/forge/packages"


@pytest.fixture
def forge(alice, deployment):
    alice.post("/api/channels", json={"name": "forge", "private": False})
    with deployment.transaction(write=True) as session:
        channel = session.scalars(select(Channel)).one()
        package = make_package(
            session,
            channel,
            "numpy",
            summary="Arrays",
            description="Arrays of numbers",
            url="https://example.org/numpy",
        )
        make_file(session, channel, "numpy-1.9-0.conda")
        make_file(session, channel, "numpy-1.10-0.tar.bz2", subdir="linux-64")
        package.latest_change = 1767323045678
        make_package(session, channel, "empty")


@pytest.mark.usefixtures("forge")
def test_a_package_is_read_with_exactly_the_keys_that_clients_know(anonymous):
    assert anonymous.get(f"{PACKAGES}/numpy").json() == PACKAGE
    assert anonymous.get(PACKAGES).json()[1] == PACKAGE
    assert anonymous.get(PAGES).json() == {
        "pagination": {"skip": 0, "limit": 20, "all_records_count": 2},
        "result": anonymous.get(PACKAGES).json(),
    }


@pytest.mark.usefixtures("forge")
def test_a_package_without_files_is_read_too(anonymous):
    empty = anonymous.get(f"{PACKAGES}/empty").json()

    assert set(empty) == set(PACKAGE)
    assert (empty["platforms"], empty["current_version"], empty["latest_change"]) == (
        [],
        None,
        None,
    )


@pytest.mark.usefixtures("forge")
def test_packages_are_searched_ordered_and_paged(anonymous):
    def names(query):
        answer = anonymous.get(f"{PAGES}?{query}")
        assert answer.status_code == 200, answer.text
        return [package["name"] for package in answer.json()["result"]]

    assert names("q=&order_by=") == ["empty", "numpy"]
    assert names("q=NUM") == ["numpy"]
    assert names("order_by=name:desc") == ["numpy", "empty"]
    assert names("order_by=latest_change") == ["numpy", "empty"]
    assert names("limit=-1") == ["empty", "numpy"]
    assert names("skip=1&limit=-1") == ["numpy"]
    assert names("limit=10000") == names("limit=2147483647") == ["empty", "numpy"]
    assert names("limit=0") == []


@pytest.mark.usefixtures("forge")
@pytest.mark.parametrize(
    "query", ["order_by=id", "order_by=name%00", "limit=2147483648", "skip=-1"]
)
def test_a_parameter_out_of_range_is_refused(anonymous, query):
    assert anonymous.get(f"{PAGES}?{query}").status_code == 422


@pytest.mark.usefixtures("forge")
@pytest.mark.parametrize("name", ["missing", "NUMPY", "%00", "num%00py", "x" * 300])
def test_a_missing_package_is_not_found_by_any_method(alice, name):
    assert alice.get(f"{PACKAGES}/{name}").status_code == 404
    assert alice.delete(f"{PACKAGES}/{name}").status_code == 404


@pytest.mark.usefixtures("forge")
def test_a_deleted_package_is_gone(alice, anonymous, deployment):
    refused = anonymous.delete(f"{PACKAGES}/numpy")
    deleted = alice.delete(f"{PACKAGES}/numpy")

    assert refused.status_code == 401
    assert (deleted.status_code, deleted.json()) == (200, None)
    assert anonymous.get(f"{PACKAGES}/numpy").status_code == 404
    assert alice.delete(f"{PACKAGES}/numpy").status_code == 404
    assert alice.get("/api/channels/forge").json()["packages_count"] == 1
    with deployment.transaction() as session:
        assert session.scalars(select(File)).all() == []


def test_a_role_in_a_package_shows_it_and_hides_the_rest_of_a_private_channel(
    make_client, deployment
):
    bob = make_client("bob")
    with deployment.transaction(write=True) as session:
        channel = make_channel(session, "forge", private=True)
        owner = session.scalars(select(User)).one()
        make_package(session, channel, "numpy", owner=owner)
        make_package(session, channel, "scipy")

    assert bob.get(f"{PACKAGES}/numpy").status_code == 200
    assert bob.get(PACKAGES).status_code == 404
    hidden, missing = bob.get(f"{PACKAGES}/scipy"), bob.get(f"{PACKAGES}/none")
    assert (hidden.status_code, hidden.content) == (404, missing.content)
