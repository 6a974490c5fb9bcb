import pytest
from sqlalchemy import select

from quetz.db.models import Channel, File, FileDownloads, Package, User
from quetz.testing.factories import make_file

VERSIONS = "/api/channels/forge/packages/pkg/versions"
PAGES = "/api/paginated/channels/forge/packages/pkg/versions"
UPLOADED_AT = 1767323045678


@pytest.fixture
def forge(alice, deployment):
    alice.post("/api/channels", json={"name": "forge", "private": False})
    with deployment.transaction(write=True) as session:
        channel = session.scalars(select(Channel)).one()
        uploader = session.scalars(select(User)).one()
        for number, version in enumerate(("1.10", "1.9", "2.0")):
            make_file(
                session,
                channel,
                f"pkg-{version}-0.conda",
                uploaded_at=UPLOADED_AT + number,
                uploader_id=uploader.id,
            )
        newest = session.scalars(select(File).where(File.version == "2.0")).one()
        newest.record = '{"depends":["python"],"name":"pkg","unknown":{"a":[1]}}'
        session.add(FileDownloads(file_id=newest.id, count=7))


def versions(client, query=""):
    answer = client.get(f"{VERSIONS}?{query}")
    assert answer.status_code == 200, answer.text
    return [version["version"] for version in answer.json()]


@pytest.mark.usefixtures("forge")
def test_a_version_is_read_with_exactly_the_keys_that_clients_know(anonymous, deployment):
    with deployment.transaction() as session:
        public_id = session.scalars(select(File.public_id).where(File.version == "2.0")).one()

    read = anonymous.get(f"{VERSIONS}/noarch/pkg-2.0-0.conda").json()

    assert read == {
        "id": public_id,
        "channel_name": "forge",
        "package_name": "pkg",
        "platform": "noarch",
        "version": "2.0",
        "build_string": "0",
        "build_number": 0,
        "filename": "pkg-2.0-0.conda",
        "info": {"depends": ["python"], "name": "pkg", "unknown": {"a": [1]}},
        "uploader": {"name": "alice", "avatar_url": ""},
        "time_created": "2026-01-02T03:04:05.680000+00:00",
        "download_count": 7,
    }
    assert anonymous.get(VERSIONS).json()[0] == read


@pytest.mark.usefixtures("forge")
def test_a_version_outlives_its_uploader(anonymous, deployment):
    with deployment.transaction(write=True) as session:
        session.delete(session.scalars(select(User)).one())

    listed = anonymous.get(VERSIONS).json()

    assert listed[0]["uploader"] == {"name": None, "avatar_url": ""}


@pytest.mark.usefixtures("forge")
def test_versions_are_ordered_and_paged_with_the_newest_first(anonymous):
    page = anonymous.get(f"{PAGES}?skip=1&limit=1").json()

    assert versions(anonymous) == ["2.0", "1.10", "1.9"]
    assert page["pagination"] == {"skip": 1, "limit": 1, "all_records_count": 3}
    assert [version["version"] for version in page["result"]] == ["1.10"]


@pytest.mark.usefixtures("forge")
def test_versions_are_narrowed_by_specification_and_time(anonymous):
    assert versions(anonymous, "version_match_str=>=1.9,<1.10") == ["1.9"]
    assert versions(anonymous, "time_created__ge=2026-01-02T03:04:05.679Z") == ["2.0", "1.9"]
    assert versions(anonymous, "time_created__ge=2026-01-02T03:04:05.6785Z") == ["2.0", "1.9"]
    assert versions(anonymous, "time_created__ge=2026-01-02T03:04:05.680") == ["2.0"]
    assert versions(anonymous, "time_created__ge=2026-01-02T04:04:05.680%2B01:00") == ["2.0"]
    assert versions(anonymous, "time_created__ge=0001-01-01T00:00:00") == ["2.0", "1.10", "1.9"]
    page = anonymous.get(f"{PAGES}?version_match_str=1.*").json()
    assert page["pagination"]["all_records_count"] == 2


@pytest.mark.usefixtures("forge")
@pytest.mark.parametrize(
    "query",
    [
        "version_match_str===",
        "version_match_str=%00",
        "version_match_str=" + "1" * 1001,
        "time_created__ge=yesterday",
        "time_created__ge=99999-01-01T00:00:00",
    ],
)
def test_a_malformed_filter_is_refused(anonymous, query):
    assert anonymous.get(f"{VERSIONS}?{query}").status_code == 422


@pytest.mark.usefixtures("forge")
@pytest.mark.parametrize(
    "path",
    [
        "noarch/pkg-9.9-0.conda",
        "linux-64/pkg-2.0-0.conda",
        "noarch/repodata.json",
        "noarch/other-2.0-0.conda",
        "no%00arch/pkg-2.0-0.conda",
        "noarch/pkg-2.0-%00.conda",
    ],
)
def test_a_missing_version_is_not_found_by_any_method(alice, path):
    assert alice.get(f"{VERSIONS}/{path}").status_code == 404
    assert alice.delete(f"{VERSIONS}/{path}").status_code == 404


@pytest.mark.usefixtures("forge")
def test_versions_of_a_missing_package_are_not_found(alice):
    for name in ("none", "%00"):
        path = f"channels/forge/packages/{name}/versions"
        assert alice.get(f"/api/{path}").status_code == 404
        assert alice.get(f"/api/paginated/{path}").status_code == 404


@pytest.mark.usefixtures("forge")
def test_the_last_deleted_version_takes_its_package_along(alice, anonymous, deployment):
    paths = [f"{VERSIONS}/noarch/pkg-{version}-0.conda" for version in ("2.0", "1.10", "1.9")]

    refused = anonymous.delete(paths[0])
    answers = [(answer.status_code, answer.json()) for answer in map(alice.delete, paths)]

    assert refused.status_code == 401
    assert answers == [(200, None)] * 3
    assert alice.delete(paths[0]).status_code == 404
    assert alice.get(VERSIONS).status_code == 404
    with deployment.transaction() as session:
        assert session.scalars(select(Package)).all() == []
        channel = session.scalars(select(Channel)).one()
        assert (channel.size, channel.packages_count) == (0, 0)


@pytest.mark.usefixtures("forge")
def test_a_member_reads_versions_and_does_not_delete_them(alice, make_client):
    bob = make_client("bob")
    alice.post("/api/channels/forge/members", json={"username": "bob", "role": "member"})
    alice.patch("/api/channels/forge", json={"private": True})

    assert len(versions(bob)) == 3
    assert bob.delete(f"{VERSIONS}/noarch/pkg-2.0-0.conda").status_code == 403
    assert len(versions(alice)) == 3
