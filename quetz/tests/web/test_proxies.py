"""Answers that name a file for nginx to send, in place of its bytes."""

import base64
import hashlib
import time
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.testclient import TestClient

from quetz.asgi import behind_proxies
from quetz.db.models import FileDownloads
from quetz.storage.keys import object_key
from quetz.testing.packages import build_package
from quetz.testing.publishing import publish_all
from quetz.web.app import create_app
from quetz.worker.tally_writer import write_tallies

X_ACCEL = "redirect_enabled = true\n"
LINKS = f"{X_ACCEL}redirect_secret = 'hush'\n"


@pytest.fixture
def local_store():
    """What the section of that name holds; a test may choose another."""
    return X_ACCEL


@pytest.fixture
def deployment_path(deployment_path, local_store):
    with (deployment_path / "config.toml").open("a") as file:
        file.write(f"[local_store]\n{local_store}")
    return deployment_path


@pytest.fixture
def package(client, key, channel, deployment, tmp_path):
    package = build_package(tmp_path)
    path = f"/api/channels/{channel}/upload/{package.name}"
    client.post(path, content=package.read_bytes(), headers=key)
    publish_all(deployment)
    return package


@pytest.fixture
def passing_on(deployment):
    """Return a function that opens a client at an address, which passes requests on."""
    believing = behind_proxies(create_app(deployment), ["10.0.0.0/8", "::1"])

    async def app(scope, receive, send):  # for the client looks at its signature
        await believing(scope, receive, send)

    def passing_on(address, forwarded="192.0.2.7"):
        headers = {"X-Forwarded-For": forwarded}
        return TestClient(app, client=(address, 1), headers=headers, follow_redirects=False)

    return passing_on


@pytest.fixture
def nginx(passing_on):
    """Ask as nginx does when it passes a request on."""
    return passing_on("10.0.0.1")


def url(package):
    return f"/get/forge/noarch/{package.name}"


def key_of(package):
    return str(object_key(hashlib.sha256(package.read_bytes()).hexdigest()))


def test_nginx_is_told_where_a_package_lies_with_all_its_headers(client, nginx, package):
    whole = client.get(url(package))

    answer = nginx.get(url(package))

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers.pop("x-accel-redirect") == f"/files/{key_of(package)}"
    of_the_body = ("content-length", "accept-ranges")  # nginx adds its own
    assert answer.headers | {name: whole.headers[name] for name in of_the_body} == whole.headers


@pytest.mark.parametrize("local_store", ["", X_ACCEL, LINKS], ids=["off", "X-Accel", "links"])
def test_who_asks_directly_gets_the_bytes(client, package):
    answer = client.get(url(package))

    assert (answer.status_code, answer.content) == (200, package.read_bytes())
    assert "x-accel-redirect" not in answer.headers


@pytest.mark.parametrize("local_store", [X_ACCEL, LINKS], ids=["X-Accel", "links"])
@pytest.mark.parametrize(
    ("address", "forwarded"),
    [
        pytest.param("192.0.2.1", "192.0.2.7", id="a stranger"),
        pytest.param("192.0.2.1", "10.0.0.1", id="a stranger who names the proxy"),
        pytest.param("192.0.2.1", "192.0.2.1", id="a stranger who names itself"),
        pytest.param("10.0.0.1", " ", id="the proxy for nobody"),
    ],
)
def test_a_header_of_proxies_gets_nobody_else_an_answer_for_nginx(
    passing_on, package, address, forwarded
):
    answer = passing_on(address, forwarded).get(url(package))

    assert (answer.status_code, answer.content) == (200, package.read_bytes())


@pytest.mark.parametrize("local_store", [""], ids=["off"])
def test_nginx_gets_the_bytes_where_redirects_are_off(nginx, package):
    assert nginx.get(url(package)).content == package.read_bytes()


@pytest.mark.parametrize("local_store", [X_ACCEL, LINKS], ids=["X-Accel", "links"])
def test_what_needs_no_bytes_is_answered_by_the_server_itself(client, nginx, package):
    etag = client.get(url(package)).headers["etag"]

    known = nginx.get(url(package), headers={"If-None-Match": etag})
    beyond = nginx.get(url(package), headers={"Range": "bytes=99999999-"})
    head = nginx.head(url(package))
    index = nginx.get("/get/forge/noarch/repodata.json.zst")  # a small one, from memory

    assert [known.status_code, beyond.status_code] == [304, 416]
    assert head.headers == client.head(url(package)).headers
    assert index.content == client.get("/get/forge/noarch/repodata.json.zst").content


@pytest.mark.parametrize(
    ("local_store", "status"), [(X_ACCEL, 200), (LINKS, 307)], ids=["X-Accel", "links"]
)
def test_only_what_is_wanted_whole_counts_as_a_download(nginx, package, deployment, status):
    asked = [nginx.get(url(package), headers={"Range": wanted}) for wanted in ("bytes=0-", "x=1")]
    nginx.get(url(package), headers={"Range": "bytes=0-9"})
    nginx.head(url(package))

    write_tallies(deployment)

    assert [answer.status_code for answer in asked] == [status, status]
    with deployment.transaction() as session:
        assert session.query(FileDownloads.count).scalar() == 2


@pytest.mark.parametrize("local_store", [f"{LINKS}redirect_endpoint = '/a/b/'\n"], ids=["links"])
def test_a_link_is_signed_as_nginx_checks_it(nginx, package):
    answer = nginx.get(url(package))

    link = urlsplit(answer.headers["location"])
    signature = {name: values[0] for name, values in parse_qs(link.query).items()}
    digest = hashlib.md5(f"{signature['expires']}{link.path} hush".encode()).digest()
    assert answer.status_code == 307
    assert link.path == f"/a/b/{key_of(package)}"
    assert signature["md5"] == base64.urlsafe_b64encode(digest).decode().rstrip("=")
    assert 50 < int(signature["expires"]) - time.time() <= 60
    assert answer.headers["cache-control"] == "private, no-store"


@pytest.mark.parametrize(
    ("local_store", "form", "handed_over"),
    [
        pytest.param(X_ACCEL, "repodata.json.zst", True, id="as it lies there"),
        pytest.param(X_ACCEL, "repodata.json", False, id="to be unpacked or encoded"),
        pytest.param(LINKS, "repodata.json.zst", False, id="by a link"),
    ],
)
@pytest.mark.parametrize("encoding", ["identity", "gzip", "zstd"])
def test_a_large_index_is_sent_by_nginx_only_as_it_lies_there(
    client, nginx, package, monkeypatch, form, encoding, handed_over
):
    monkeypatch.setattr("quetz.web.index_forms.KEPT_SIZE", 0)
    path, headers = f"/get/forge/noarch/{form}", {"Accept-Encoding": encoding}

    answer = nginx.get(path, headers=headers)

    assert answer.headers.get("x-accel-redirect", "").startswith("/files/index/") == handed_over
    expected = b"" if handed_over else client.get(path, headers=headers).content
    assert (answer.status_code, answer.content) == (200, expected)


def test_a_private_package_is_handed_over_to_its_readers_only(client, nginx, key, package):
    client.patch("/api/channels/forge", json={"private": True}, headers=key)

    stranger, reader = nginx.get(url(package)), nginx.get(url(package), headers=key)

    assert (stranger.status_code, "x-accel-redirect" in stranger.headers) == (401, False)
    assert reader.headers["x-accel-redirect"] == f"/files/{key_of(package)}"
    assert reader.headers["cache-control"].startswith("private")


@pytest.mark.parametrize("local_store", [LINKS], ids=["links"])
def test_there_is_no_link_to_a_private_package(client, nginx, key, package):
    client.patch("/api/channels/forge", json={"private": True}, headers=key)

    answer = nginx.get(url(package), headers=key)

    assert (answer.status_code, answer.content) == (200, package.read_bytes())
