"""The description of the API is true of what is sent."""

import pytest

from quetz.testing.packages import build_package
from quetz.testing.publishing import publish_all


@pytest.fixture
def described(client):
    return client.get("/openapi.json").json()


@pytest.fixture
def package(client, key, channel, deployment, tmp_path):
    package = build_package(tmp_path, subdir="linux-64")
    content = package.read_bytes()
    client.post(f"/api/channels/forge/upload/{package.name}", content=content, headers=key)
    publish_all(deployment)
    return package.name


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("/get/{channel}", "/get/forge"),
        ("/get/{channel}/", "/get/forge/"),
        ("/get/{channel}/{file}", "/get/forge/index.html"),
        ("/get/{channel}/{file}", "/get/forge/linux-64"),
        ("/get/{channel}/{file}", "/get/forge/channeldata.json"),
        ("/get/{channel}/{file}", "/get/forge/notices.json"),
        ("/get/{channel}/{subdir}/", "/get/forge/linux-64/"),
        ("/get/{channel}/{subdir}/{file}", "/get/forge/linux-64/index.html"),
        ("/get/{channel}/{subdir}/{file}", "/get/forge/linux-64/repodata.json"),
        ("/get/{channel}/{subdir}/{file}", "/get/forge/linux-64/repodata.json.zst"),
        ("/get/{channel}/{subdir}/{file}", "/get/forge/linux-64/{package}"),
    ],
)
def test_a_download_is_described_with_the_media_type_that_is_sent(
    client, package, described, template, path
):
    address = path.format(package=package)

    read, asked = client.get(address), client.head(address)

    route = described["paths"][template]
    media_type = read.headers["content-type"].partition(";")[0]
    assert media_type in route["get"]["responses"][str(read.status_code)]["content"]
    assert str(asked.status_code) in route["head"]["responses"]


def test_what_takes_a_browser_is_described_to_take_its_cookie(described):
    cookie: dict[str, list[str]] = {"cookie": []}

    security = {
        (method, path): route["security"]
        for path, methods in described["paths"].items()
        for method, route in methods.items()
    }

    assert described["components"]["securitySchemes"]["cookie"]["in"] == "cookie"
    assert security["get", "/api/me"] == security["get", "/api/csrf-token"] == [cookie]
    assert cookie in security["delete", "/api/users/{username}"]
    assert cookie in security["post", "/api/channels"]
    assert cookie in security["get", "/get/{channel}/{file}"]
    assert "X-CSRF" in described["info"]["description"]
