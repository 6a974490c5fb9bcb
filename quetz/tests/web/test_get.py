import gzip
import hashlib
import json
import time
from email.utils import formatdate

import pytest
import zstandard

from quetz.conda.shards import decode_shard_index
from quetz.db.models import FileDownloads
from quetz.services.publishing import Switch, list_published
from quetz.storage.keys import object_key
from quetz.testing.packages import build_package
from quetz.testing.publishing import publish_all
from quetz.tests.web.conftest import make_key
from quetz.tests.web.readers import get, raw
from quetz.worker.tally_writer import write_tallies

SHARD_INDEX = "repodata_shards.msgpack.zst"
FORMS = [
    SHARD_INDEX,
    "repodata.json",
    "repodata.json.gz",
    "repodata.json.zst",
    "repodata_from_packages.json",
    "repodata_from_packages.json.zst",
    "run_exports.json",
    "run_exports.json.zst",
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("subdir", ["noarch", "linux-64", "emscripten-wasm32", "never-seen"])
def test_every_subdir_of_a_new_channel_answers_with_an_empty_index(client, channel, subdir, form):
    answer = get(client, f"/get/forge/{subdir}/{form}")

    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) == len(answer.content)


def test_an_empty_index_is_the_same_each_time(client, channel):
    answers = [get(client, f"/get/forge/noarch/{SHARD_INDEX}") for _ in range(2)]

    assert answers[0].content == answers[1].content
    assert answers[0].headers["etag"] == answers[1].headers["etag"]


@pytest.mark.parametrize(
    "path",
    [
        "current_repodata.json",
        "repodata.json.bz2",
        "repodata.json.jlap",
        "pkg-1.0-0.conda",
        "patch_instructions.json",
        "shards/" + "0" * 64 + ".msgpack.zst",
        "shards/nothing",
        "a/b/c",
    ],
)
def test_what_there_is_not_is_answered_404(client, channel, path):
    answer = get(client, f"/get/forge/noarch/{path}")

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"detail", "reason", "message"} <= set(answer.json())


@pytest.mark.parametrize("subdir", ["Linux-64", "linux", "linux-64-extra", "%2e%2e", "a" * 40])
def test_what_is_no_subdir_is_answered_404(client, channel, subdir):
    answer = get(client, f"/get/forge/{subdir}/repodata.json")

    assert answer.status_code == 404


def test_json_is_sent_in_the_encoding_that_the_client_takes(client, package):
    path = "/get/forge/linux-64/repodata.json"

    plain = raw(client, path, Accept_Encoding="identity")
    zipped = raw(client, path, Accept_Encoding="gzip, deflate")
    packed = raw(client, path, Accept_Encoding="gzip, deflate, zstd")

    assert gzip.decompress(zipped) == plain
    assert zstandard.ZstdDecompressor().decompress(packed) == plain
    assert package.name in json.loads(plain)["packages.conda"]


def test_an_encoding_with_weight_zero_is_not_used(client, package):
    path = "/get/forge/linux-64/repodata.json"

    answer = get(client, path, Accept_Encoding="zstd;q=0, gzip;q=0.0")

    assert "content-encoding" not in answer.headers


def test_each_representation_has_its_own_etag(client, package):
    etags = {
        client.get(f"/get/forge/linux-64/{form}", headers={"Accept-Encoding": encoding}).headers[
            "etag"
        ]
        for form in ("repodata.json", "repodata.json.zst")
        for encoding in ("identity", "gzip", "zstd")
    }

    assert len(etags) == 4


def test_a_json_form_varies_by_encoding_and_a_file_does_not(client, package):
    negotiated = get(client, "/get/forge/linux-64/repodata.json")
    fixed = get(client, "/get/forge/linux-64/repodata.json.zst")

    assert negotiated.headers["vary"] == "Accept-Encoding"
    assert "vary" not in fixed.headers
    assert "content-encoding" not in fixed.headers


@pytest.mark.parametrize("path", [f"linux-64/{form}" for form in FORMS] + ["channeldata.json"])
def test_an_unchanged_form_is_answered_304(client, package, path):
    first = get(client, f"/get/forge/{path}")

    again = get(client, f"/get/forge/{path}", If_None_Match=first.headers["etag"])

    assert first.status_code == 200
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]


@pytest.mark.parametrize("path", [f"linux-64/{form}" for form in FORMS] + ["channeldata.json"])
def test_head_says_what_get_would(client, package, path):
    headers = {"Accept-Encoding": "identity"}
    got = client.get(f"/get/forge/{path}", headers=headers)

    head = client.head(f"/get/forge/{path}", headers=headers)

    assert head.content == b""
    assert dict(head.headers) == dict(got.headers)


def test_the_shard_index_leads_to_the_shard(client, package):
    index = zstandard.ZstdDecompressor().decompress(
        get(client, f"/get/forge/linux-64/{SHARD_INDEX}").content
    )
    digest = decode_shard_index(index)["numpy"].hex()

    answer = get(client, f"/get/forge/linux-64/shards/{digest}.msgpack.zst")

    assert hashlib.sha256(answer.content).hexdigest() == digest
    assert "immutable" in answer.headers["cache-control"]


def test_channeldata_and_notices_belong_to_the_channel(client, package):
    channeldata = get(client, "/get/forge/channeldata.json").json()
    notices = get(client, "/get/forge/notices.json").json()

    assert channeldata["subdirs"] == ["linux-64"]
    assert channeldata["packages"]["numpy"]["version"] == "2.1.0"
    assert notices == {"notices": []}


def test_an_upload_is_seen_as_soon_as_it_is_published(client, key, package, deployment, tmp_path):
    before = get(client, f"/get/forge/linux-64/{SHARD_INDEX}")
    newer = build_package(tmp_path, name="numpy", version="2.2.0", subdir="linux-64")

    client.post(f"/api/channels/forge/upload/{newer.name}", content=newer.read_bytes(), headers=key)
    publish_all(deployment)

    after = get(client, f"/get/forge/linux-64/{SHARD_INDEX}")
    assert after.headers["etag"] != before.headers["etag"]
    assert newer.name in get(client, "/get/forge/linux-64/repodata.json").text


def test_a_torn_index_is_not_served_and_is_built_anew(client, package, deployment):
    with deployment.transaction() as session:
        published = list_published(session)
    for switch, state in published.items():
        for file in state.files.values():
            (deployment.path / "store" / file.key).write_bytes(b"torn")
            assert isinstance(switch, Switch)

    broken = get(client, "/get/forge/linux-64/repodata.json.zst")
    publish_all(deployment)
    mended = get(client, "/get/forge/linux-64/repodata.json")

    assert broken.status_code == 503
    assert "retry-after" in broken.headers
    assert package.name in mended.text


def test_a_package_is_sent_whole_with_its_validators(client, package):
    answer = get(client, f"/get/forge/linux-64/{package.name}")

    assert answer.content == package.read_bytes()
    assert answer.headers["etag"] == f'"{hashlib.sha256(answer.content).hexdigest()}"'
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert answer.headers["accept-ranges"] == "bytes"


def test_a_package_is_never_content_encoded(client, package):
    answer = get(client, f"/get/forge/linux-64/{package.name}", Accept_Encoding="gzip, zstd")

    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    ("wanted", "first", "end"),
    [
        pytest.param("bytes=0-9", 0, 10, id="first ten"),
        pytest.param("bytes=10-", 10, None, id="from the tenth"),
        pytest.param("bytes=-16", -16, None, id="last sixteen"),
        pytest.param("bytes=5-99999999", 5, None, id="beyond the end"),
    ],
)
def test_a_range_is_answered_206(client, package, wanted, first, end):
    data = package.read_bytes()

    answer = get(client, f"/get/forge/linux-64/{package.name}", Range=wanted)

    assert answer.status_code == 206
    assert answer.content == data[first:end]
    assert answer.headers["content-range"].endswith(f"/{len(data)}")
    assert int(answer.headers["content-length"]) == len(answer.content)


@pytest.mark.parametrize("wanted", ["bytes=99999999-", "bytes=-0"])
def test_a_range_outside_the_file_is_answered_416(client, package, wanted):
    answer = get(client, f"/get/forge/linux-64/{package.name}", Range=wanted)

    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{package.stat().st_size}"


@pytest.mark.parametrize(
    "wanted", ["bytes=0-1,3-4", "lines=0-1", "bytes=9-5", "bytes=x-y", "bytes=-"]
)
def test_a_range_that_is_not_understood_is_answered_with_the_whole(client, package, wanted):
    answer = get(client, f"/get/forge/linux-64/{package.name}", Range=wanted)

    assert (answer.status_code, answer.content) == (200, package.read_bytes())


def test_head_takes_no_notice_of_a_range(client, package):
    answer = client.head(f"/get/forge/linux-64/{package.name}", headers={"Range": "bytes=0-9"})

    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) == package.stat().st_size


@pytest.mark.parametrize("wanted", ["bytes=" + "0" * 5000 + "1-5", "bytes=1-" + "0" * 30 + "5"])
def test_leading_zeros_of_a_range_mean_nothing(client, package, wanted):
    answer = get(client, f"/get/forge/linux-64/{package.name}", Range=wanted)

    assert (answer.status_code, answer.content) == (206, package.read_bytes()[1:6])


def test_a_package_whose_bytes_are_damaged_is_not_sent(client, package, deployment):
    [(digest, _)] = deployment.store.list_objects()
    (deployment.path / "store" / str(object_key(digest))).write_bytes(b"cut")

    answer = get(client, f"/get/forge/linux-64/{package.name}")

    assert answer.status_code == 503


def test_a_range_of_another_state_is_answered_with_the_whole(client, package):
    path = f"/get/forge/linux-64/{package.name}"

    stale = get(client, path, Range="bytes=0-9", If_Range='"other"')
    right = get(client, path, Range="bytes=0-9", If_Range=stale.headers["etag"])

    assert (stale.status_code, right.status_code) == (200, 206)


@pytest.mark.parametrize("form", ["repodata.json", SHARD_INDEX, "package", "", "../notices.json"])
def test_what_was_not_modified_since_a_date_is_not_sent_again(client, package, form):
    path = f"/get/forge/linux-64/{package.name if form == 'package' else form}"
    path = path.replace("linux-64/../", "")
    whole = get(client, path)
    later = formatdate(time.time() + 3600, usegmt=True)

    same = get(client, path, If_Modified_Since=later)
    changed = get(client, path, If_Modified_Since="Sat, 01 Jan 2000 00:00:00 GMT")
    tagged = get(client, path, If_Modified_Since=later, If_None_Match='"other"')

    assert (same.status_code, same.content) == (304, b"")
    assert [changed.status_code, tagged.status_code] == [200, 200]
    assert changed.content == whole.content


def test_a_date_of_the_package_itself_is_recent_enough(client, package):
    path = f"/get/forge/linux-64/{package.name}"
    date = get(client, path).headers["last-modified"]

    assert get(client, path, If_Modified_Since=date).status_code == 304


def test_a_date_of_the_index_itself_does_not_tell_which_of_its_second_is_meant(client, package):
    path = "/get/forge/linux-64/repodata.json.zst"
    date = get(client, path).headers["last-modified"]

    assert get(client, path, If_Modified_Since=date).status_code == 200


@pytest.mark.parametrize(
    "date", ["", "x", "yesterday", "99999", "Sat, 99 Jan 99999999999999 00:00:00 GMT", "\xff"]
)
def test_a_date_that_is_not_understood_is_ignored(client, package, date):
    path = f"/get/forge/linux-64/{package.name}"

    answer = client.get(path, headers={"If-Modified-Since": date.encode("latin-1")})

    assert answer.status_code == 200


def test_only_whole_downloads_are_counted(client, key, package, deployment):
    path = f"/get/forge/linux-64/{package.name}"
    etag = get(client, path).headers["etag"]
    get(client, path)
    get(client, path, Range="bytes=0-9")
    get(client, path, If_None_Match=etag)
    client.head(path)

    write_tallies(deployment)

    with deployment.transaction() as session:
        assert session.query(FileDownloads.count).scalar() == 2


def test_reading_writes_nothing_to_the_database(client, key, package, deployment):
    path = f"/get/forge/linux-64/{package.name}"
    client.get(path, headers=key)
    before = deployment.changes.number()

    answers = [client.get(path, headers=key) for _ in range(5)]

    assert [answer.status_code for answer in answers] == [200] * 5
    assert deployment.changes.number() == before


def test_only_get_and_head_are_answered(client, package):
    answer = client.post(f"/get/forge/linux-64/{package.name}")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


def test_a_private_channel_is_hidden_from_who_may_not_read_it(client, key, deployment):
    client.post("/api/channels", json={"name": "secret", "private": True}, headers=key)
    stranger = {"X-API-Key": make_key(deployment, "bob")}

    anonymous = [get(client, f"/get/{name}/noarch/repodata.json") for name in ("secret", "no")]
    known = [
        client.get(f"/get/{name}/noarch/repodata.json", headers=stranger)
        for name in ("secret", "no")
    ]

    assert [answer.status_code for answer in anonymous] == [401, 401]
    assert [answer.status_code for answer in known] == [404, 404]
    assert anonymous[0].content == anonymous[1].content
    assert known[0].content == known[1].content


def test_a_private_index_is_not_for_shared_caches(client, key):
    client.post("/api/channels", json={"name": "secret", "private": True}, headers=key)

    answer = client.get("/get/secret/noarch/repodata.json", headers=key)

    assert answer.headers["cache-control"].startswith("private")


def test_a_channel_that_becomes_private_is_closed_at_once(client, key, package):
    path = f"/get/forge/linux-64/{package.name}"
    before = get(client, path)

    client.patch("/api/channels/forge", json={"private": True}, headers=key)

    assert (before.status_code, get(client, path).status_code) == (200, 401)
