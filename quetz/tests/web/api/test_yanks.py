import json
from datetime import datetime

import msgspec
import pytest
from sqlalchemy import select

from quetz.conda.zstd import decompress
from quetz.db.models import Event, IndexDirty
from quetz.testing.packages import build_package
from quetz.testing.publishing import publish_all
from quetz.testing.shard_reader import read_index, read_shard
from quetz.tests.web.api.uploading import count, other_bytes, upload

PACKAGE = "/api/channels/forge/packages/pkg"
OLD, NEW = "pkg-1.0-0.tar.bz2", "pkg-2.0-0.conda"
YANK = f"{PACKAGE}/versions/noarch/{NEW}/yank"
RESTORE = f"{PACKAGE}/versions/noarch/{NEW}/restore"


@pytest.fixture
def forge(alice, deployment, tmp_path):
    """A channel with two versions of a package, published."""
    alice.post("/api/channels", json={"name": "forge", "private": False})
    upload(alice, None, build_package(tmp_path, version="1.0", suffix=".tar.bz2"))
    upload(alice, None, build_package(tmp_path, version="2.0", run_exports=["pkg >=2"]))
    publish_all(deployment)


def fetched(client, name):
    answer = client.get(f"/get/forge/{name}")
    assert answer.status_code == 200, answer.text
    return answer


def forms(client):
    """Return, of each form of the index, the files that it offers and those it says are removed."""

    def of(document):
        return sorted(document["packages"] | document["packages.conda"]), document.get("removed")

    zst = decompress(fetched(client, "noarch/repodata.json.zst").content, 1 << 20)
    index = read_index(lambda url: fetched(client, url).content, "noarch")
    shard = fetched(client, index.shard_url("pkg")).content
    read_shard(lambda url: fetched(client, url).content, index, "pkg")  # which is strict
    return {
        "repodata.json": of(fetched(client, "noarch/repodata.json").json()),
        "repodata.json.zst": of(json.loads(zst)),
        "shards": of(msgspec.msgpack.decode(decompress(shard, 1 << 20))),
        "run_exports.json": of(fetched(client, "noarch/run_exports.json").json())[0],
        "channeldata.json": fetched(client, "channeldata.json").json()["packages"].get("pkg"),
    }


@pytest.mark.usefixtures("forge")
def test_a_yanked_file_is_removed_from_every_form_and_still_downloaded(
    alice, anonymous, deployment
):
    before = forms(anonymous)
    bytes_before = fetched(anonymous, f"noarch/{NEW}").content

    yanked = alice.post(YANK, json={"reason": "it deletes homes"})
    publish_all(deployment)
    after = forms(anonymous)

    assert (yanked.status_code, yanked.json()) == (200, None)
    assert int(yanked.headers["Quetz-Change"]) > 0
    for form in ("repodata.json", "repodata.json.zst", "shards"):
        assert before[form] == ([OLD, NEW], [])
        assert after[form] == ([OLD], [NEW])
    assert after["run_exports.json"] == [OLD]
    assert (after["channeldata.json"]["version"], after["channeldata.json"]["run_exports"]) == (
        "1.0",
        {},
    )
    assert fetched(anonymous, f"noarch/{NEW}").content == bytes_before


@pytest.mark.usefixtures("forge")
def test_whether_a_file_is_yanked_is_told(alice, anonymous):
    live = {"yanked": False, "reason": None, "at": None}
    before = anonymous.get(YANK)

    alice.post(YANK, json={"reason": "it deletes homes"})
    yanked = anonymous.get(YANK).json()
    alice.post(YANK)
    without_reason = anonymous.get(YANK).json()
    alice.post(RESTORE)

    assert (before.status_code, before.json()) == (200, live)
    assert datetime.fromisoformat(yanked["at"]).tzinfo is not None
    assert yanked == {"yanked": True, "reason": "it deletes homes", "at": yanked["at"]}
    assert without_reason == {"yanked": True, "reason": None, "at": yanked["at"]}
    assert anonymous.get(YANK).json() == live
    assert anonymous.get(f"{PACKAGE}/versions/noarch/pkg-9.0-0.conda/yank").status_code == 404


@pytest.mark.usefixtures("forge")
def test_a_restored_file_is_back_in_every_form(alice, anonymous, deployment):
    before = forms(anonymous)
    alice.post(YANK)
    publish_all(deployment)

    restored = alice.post(RESTORE)
    publish_all(deployment)

    assert (restored.status_code, restored.json()) == (200, None)
    assert "Quetz-Change" in restored.headers
    assert forms(anonymous) == before


@pytest.mark.usefixtures("forge")
def test_a_name_whose_files_are_all_yanked_stays_with_what_was_removed(
    alice, anonymous, deployment
):
    for filename in (OLD, NEW):
        alice.post(f"{PACKAGE}/versions/noarch/{filename}/yank")
    publish_all(deployment)

    after = forms(anonymous)

    assert after["repodata.json"] == after["shards"] == ([], [OLD, NEW])
    assert after["channeldata.json"] is None


@pytest.mark.usefixtures("forge")
def test_versions_are_listed_as_before_and_the_current_one_is_none_that_was_yanked(
    alice, anonymous
):
    before = anonymous.get(f"{PACKAGE}/versions").json()
    assert anonymous.get(PACKAGE).json()["current_version"] == "2.0"

    alice.post(YANK)

    assert anonymous.get(f"{PACKAGE}/versions").json() == before
    assert anonymous.get(f"{PACKAGE}/versions/noarch/{NEW}").json() == before[0]
    assert anonymous.get(PACKAGE).json()["current_version"] == "1.0"
    [listed] = anonymous.get("/api/channels/forge/packages").json()
    assert listed["current_version"] == "1.0"


@pytest.mark.usefixtures("forge")
def test_each_change_leaves_one_event_and_the_same_again_none(alice, deployment):
    bodies = [{"reason": "bad"}, {"reason": "bad"}, {"reason": "worse"}]
    yanked = [alice.post(YANK, json=body) for body in bodies]
    marks = count(deployment, IndexDirty)
    restored = [alice.post(RESTORE) for _ in range(2)]

    assert {answer.status_code for answer in [*yanked, *restored]} == {200}
    assert ["Quetz-Change" in answer.headers for answer in yanked] == [True, False, False]
    assert ["Quetz-Change" in answer.headers for answer in restored] == [True, False]
    assert marks > 0
    with deployment.transaction() as session:
        query = select(Event.subject, Event.before, Event.after).order_by(Event.id)
        rows = session.execute(query.where(Event.action == "version.yank")).all()
    live = {"yanked": False, "reason": None}
    bad, worse = ({"yanked": True, "reason": reason} for reason in ("bad", "worse"))
    assert {row.subject for row in rows} == {f"noarch/{NEW}"}
    assert [(json.loads(row.before), json.loads(row.after)) for row in rows] == [
        (live, bad),
        (bad, worse),
        (worse, live),
    ]


@pytest.mark.usefixtures("forge")
def test_what_replaces_a_yanked_file_is_offered(alice, anonymous, deployment, tmp_path):
    alice.post(YANK)
    same = upload(alice, None, tmp_path / NEW)
    publish_all(deployment)
    assert (same.status_code, same.headers["quetz-yanked"]) == (200, "true")
    assert forms(anonymous)["shards"] == ([OLD], [NEW])

    other = other_bytes(tmp_path, version="2.0")

    replaced = upload(alice, None, other, force=True)

    assert (replaced.status_code, replaced.headers.get("quetz-yanked")) == (201, None)
    publish_all(deployment)
    assert forms(anonymous)["shards"] == ([OLD, NEW], [])


@pytest.mark.usefixtures("forge")
@pytest.mark.parametrize(
    "body",
    ['{"reason": 1}', '{"reason": "\\u0000"}', '{"why": ""}', "[]", "{", '{"reason": "%s"}'],
)
def test_a_malformed_reason_is_refused(alice, anonymous, body):
    text = body.replace("%s", "x" * 1001)

    assert alice.post(YANK, content=text).status_code == 422
    assert anonymous.get(PACKAGE).json()["current_version"] == "2.0"


@pytest.mark.usefixtures("forge")
@pytest.mark.parametrize("deed", ["yank", "restore"])
def test_files_are_yanked_and_restored_by_maintainers(alice, anonymous, make_client, deed):
    path = f"{PACKAGE}/versions/noarch"
    member, maintainer = make_client("member"), make_client("maintainer")
    alice.post("/api/channels/forge/members", json={"username": "member", "role": "member"})
    alice.post(f"{PACKAGE}/members", json={"username": "maintainer", "role": "maintainer"})

    assert anonymous.post(f"{path}/{NEW}/{deed}").status_code == 401
    assert member.post(f"{path}/{NEW}/{deed}").status_code == 403
    assert maintainer.post(f"{path}/{NEW}/{deed}").status_code == 200
    assert maintainer.post(f"{path}/pkg-9.0-0.conda/{deed}").status_code == 404
    assert alice.post(f"{path}/x/{deed}").status_code == 404


@pytest.mark.usefixtures("forge")
def test_the_run_exports_of_a_file_are_read(alice, anonymous):
    path = f"{PACKAGE}/versions/noarch"

    assert anonymous.get(f"{path}/{NEW}/run_exports").json() == {"weak": ["pkg >=2"]}
    assert anonymous.get(f"{path}/{OLD}/run_exports").json() == {}
    assert anonymous.get(f"{path}/pkg-9.0-0.conda/run_exports").status_code == 404
    alice.patch("/api/channels/forge", json={"private": True})
    assert anonymous.get(f"{path}/{NEW}/run_exports").status_code == 401
