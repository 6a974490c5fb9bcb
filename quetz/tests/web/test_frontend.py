import pytest
from starlette.testclient import TestClient

from quetz.deployment import Deployment
from quetz.errors import BadConfig
from quetz.web.app import create_app

FILES = {
    "index.html": "<!doctype html>first",
    "assets/app.js": "let a = 1",
    "assets/style.css": "p {}",
    "assets/face.woff2": "font",
    "..two.txt": "hidden",
    ".env": "hidden",
    ".git/config": "hidden",
}


@pytest.fixture
def folder(deployment_path):
    folder = deployment_path / "frontend"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    with (deployment_path / "config.toml").open("a") as config:
        config.write('[general]\nfrontend_dir = "frontend"\n')
    return folder


@pytest.fixture
def client(folder, deployment_path):
    deployment = Deployment.open(deployment_path)
    yield TestClient(create_app(deployment))
    deployment.close()


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/assets/app.js", "text/javascript; charset=utf-8"),
        ("/assets/style.css", "text/css; charset=utf-8"),
        ("/assets/face.woff2", "font/woff2"),
        ("/index.html", "text/html; charset=utf-8"),
        ("/assets/%61pp.js", "text/javascript; charset=utf-8"),
    ],
)
def test_files_of_the_folder_are_served(client, path, media_type):
    answer = client.get(path)

    assert answer.status_code == 200
    assert answer.text == FILES[path.replace("%61", "a").removeprefix("/")]
    assert answer.headers["content-type"] == media_type
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "object-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "path", ["/", "/channels", "/channels/forge/packages", "/assets/", "/a%20b"]
)
def test_a_name_without_a_dot_is_a_page_of_the_frontend(client, path):
    answer = client.get(path)

    assert (answer.status_code, answer.text) == (200, FILES["index.html"])
    assert answer.headers["cache-control"] == "no-cache"
    assert client.get(path, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    assert client.head(path).headers["content-length"] == str(len(answer.content))


@pytest.mark.parametrize(
    "path",
    ["/api", "/api/none", "/auth/x", "/get", "/metrics/x", "/health/none", "/docs", "/%61pi/x"],
)
def test_the_servers_own_addresses_are_never_a_page(client, path):
    answer = client.get(path)

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "path",
    [
        "/missing.js",
        "/.env",
        "/.git/config.txt",
        "/..two.txt",
        "/assets/../../config.toml",
        "/../config.toml",
        "/%2e%2e/config.toml",
        "/..%2fconfig.toml",
        "/%2e%2e%2fconfig.toml",
        "/%252e%252e/config.toml",
        "/assets/..%5c..%5cconfig.toml",
        "//etc/hosts.conf",
        "/assets//app.js",
        "/assets/app.js/x.js",
        "/assets/app.js%00",
        "/assets/app.js%00.html",
        "/assets%2fapp.js",
        "/out/config.toml",
        "/config.txt",
        "/" + "x" * 300 + ".js",
    ],
)
def test_nothing_else_is_served(client, folder, deployment_path, path):
    (folder / "out").symlink_to(deployment_path)
    (folder / "config.txt").symlink_to(deployment_path / "config.toml")

    assert raw_get(client, path) == 404


def raw_get(client, path):
    """Ask for a path as it is: clients would resolve dots and slashes before they send it."""
    scope_path = path.encode()

    async def app(scope, receive, send):
        await client.app({**scope, "raw_path": scope_path}, receive, send)

    return TestClient(app).get("/x").status_code


def test_a_link_within_the_folder_is_followed(client, folder):
    (folder / "latest.js").symlink_to(folder / "assets" / "app.js")

    assert client.get("/latest.js").text == FILES["assets/app.js"]


def test_only_reading_finds_a_page(client):
    assert client.post("/channels").status_code == 404
    assert client.get("/api/dummylogin/x").status_code == 404


def test_the_api_is_there_beside_the_frontend(client):
    assert client.get("/health/live").json()["status"] == "ok"
    assert client.get("/api/channels").json() == []


def test_a_folder_without_a_first_page_is_refused(folder, deployment_path):
    (folder / "index.html").unlink()
    deployment = Deployment.open(deployment_path)

    with pytest.raises(BadConfig, match=r"holds no index\.html"):
        create_app(deployment)

    deployment.close()


def test_without_a_frontend_the_first_page_names_the_server(deployment):
    client = TestClient(create_app(deployment))

    answer = client.get("/")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "quetz" in answer.text
    assert client.get("/channels").status_code == 404
    assert client.get("/index.html").headers["content-type"] == "application/problem+json"
