import base64
import json

import pytest
from sqlalchemy import event, text

from quetz.db.models import Channel
from quetz.testing.factories import make_channel, make_file, make_package

CHANNELS = "/api/cursor/channels"
PACKAGES = f"{CHANNELS}/forge/packages"
VERSIONS = f"{PACKAGES}/numpy/versions"


def cursor(position):
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


@pytest.fixture
def forge(deployment):
    with deployment.transaction(write=True) as session:
        channel = make_channel(session, "forge")
        for filename in ("numpy-1.10-0.conda", "numpy-1.9-0.conda", "numpy-1.9-0.tar.bz2"):
            make_file(session, channel, filename)
        make_file(session, channel, "numpy-1.9-0.conda", subdir="linux-64")
        for name in ("zlib", "a_b", "a-b", "scipy"):
            make_package(session, channel, name)
        make_channel(session, "closed", private=True)
        for number in range(3):
            make_channel(session, f"channel{number}")


def read_all(client, path, name, limit):
    """Follow the cursors to the end; return the names, a list for each page."""
    pages, after = [], None
    while True:
        query = {"limit": limit} | ({} if after is None else {"after": after})
        answer = client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        assert set(answer.json()) == {"items", "next"}
        pages.append([item[name] for item in answer.json()["items"]])
        after = answer.json()["next"]
        if after is None:
            return pages


@pytest.mark.usefixtures("forge")
def test_a_cursor_leads_through_all_channels_that_are_seen(anonymous):
    pages = read_all(anonymous, CHANNELS, "name", 3)

    assert pages == [["channel0", "channel1", "channel2"], ["forge"]]
    assert read_all(anonymous, CHANNELS, "name", 2) == [
        ["channel0", "channel1"], ["channel2", "forge"]
    ]  # fmt: skip


@pytest.mark.usefixtures("forge")
def test_a_cursor_leads_through_packages_in_the_order_of_bytes(anonymous):
    assert read_all(anonymous, PACKAGES, "name", 2) == [
        ["a-b", "a_b"],
        ["numpy", "scipy"],
        ["zlib"],
    ]


@pytest.mark.usefixtures("forge")
def test_a_cursor_leads_through_versions_by_platform_and_file_name(anonymous):
    assert read_all(anonymous, VERSIONS, "filename", 1) == [
        ["numpy-1.9-0.conda"],
        ["numpy-1.10-0.conda"],
        ["numpy-1.9-0.conda"],
        ["numpy-1.9-0.tar.bz2"],
    ]


@pytest.mark.usefixtures("forge")
@pytest.mark.parametrize(
    ("path", "old"),
    [
        (CHANNELS, "/api/channels/forge"),
        (PACKAGES, "/api/channels/forge/packages/numpy"),
        (VERSIONS, "/api/channels/forge/packages/numpy/versions/noarch/numpy-1.9-0.conda"),
    ],
)
def test_an_item_has_the_keys_of_the_other_lists(anonymous, path, old):
    assert anonymous.get(old).json() in anonymous.get(path).json()["items"]


@pytest.mark.usefixtures("forge")
def test_what_is_added_and_removed_meanwhile_moves_no_page(anonymous, deployment):
    first = anonymous.get(CHANNELS, params={"limit": 2}).json()
    with deployment.transaction(write=True) as session:
        make_channel(session, "aaa")
        session.delete(session.query(Channel).filter_by(name="channel1").one())

    second = anonymous.get(CHANNELS, params={"limit": 2, "after": first["next"]}).json()

    assert [channel["name"] for channel in second["items"]] == ["channel2", "forge"]
    assert second["next"] is None


@pytest.mark.usefixtures("forge")
@pytest.mark.parametrize(
    ("path", "table", "gone", "left"),
    [
        (PACKAGES, "packages", "name IN ('a-b', 'a_b')", ["numpy", "scipy"]),
        (VERSIONS, "files", "filename <> 'numpy-1.9-0.tar.bz2'", ["numpy-1.9-0.tar.bz2"]),
    ],
)
def test_a_page_whose_rows_are_deleted_while_it_is_read_leads_to_the_next(
    anonymous, deployment, path, table, gone, left
):
    limit = 2 if path == PACKAGES else 3

    deletions = [text(f"DELETE FROM {table} WHERE {gone}")]

    def delete_once(_connection, _cursor, statement, *_told):
        if f"FROM {table}" in statement and "LIMIT" in statement and deletions:
            with deployment.transaction(write=True) as session:
                session.execute(deletions.pop())

    event.listen(deployment.engine, "after_cursor_execute", delete_once)

    first = anonymous.get(path, params={"limit": limit}).json()
    second = anonymous.get(path, params={"limit": limit, "after": first["next"]})

    assert not deletions
    assert [item.get("filename") or item["name"] for item in second.json()["items"]] == left


@pytest.mark.usefixtures("forge")
@pytest.mark.parametrize("path", [CHANNELS, PACKAGES, VERSIONS])
@pytest.mark.parametrize(
    "after",
    [
        "",
        "x",
        "!!!",
        "\0",
        "\N{SNOWMAN}",
        "x" * 601,
        cursor("name"),
        cursor([]),
        cursor([1, 2]),
        cursor([None]),
        cursor(["a"] * 3),
        cursor(["\0", "\0"]),
        cursor(["\ud800"]),
        base64.urlsafe_b64encode(b"[" * 400).decode(),
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    ],
)
def test_what_is_no_cursor_is_refused(anonymous, path, after):
    assert anonymous.get(path, params={"after": after}).status_code == 422


@pytest.mark.usefixtures("forge")
@pytest.mark.parametrize("limit", ["0", "-1", "1001", "x", str(2**64)])
def test_a_limit_out_of_range_is_refused(anonymous, limit):
    assert anonymous.get(PACKAGES, params={"limit": limit}).status_code == 422


@pytest.mark.usefixtures("forge")
def test_a_private_channel_is_hidden(alice, anonymous):
    path = f"{CHANNELS}/closed/packages"

    assert [client.get(path).status_code for client in (alice, anonymous)] == [404, 401]
