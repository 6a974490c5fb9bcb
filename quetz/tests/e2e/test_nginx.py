"""A real nginx, configured as its page says, in front of a real server."""

import hashlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

import quetz
from quetz.deployment import Deployment
from quetz.services.accounts import create_user
from quetz.services.api_keys import create_api_key
from quetz.services.permissions import OPERATOR, Role, principal_of
from quetz.testing.servers import running_server
from quetz.tests.e2e.conftest import quetz as run_quetz

PAGE = Path(quetz.__file__).parent.parent / "docs/nginx.md"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
SECRET = "a long random text"

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


def blocks() -> list[str]:
    """Return the page's blocks of nginx's configuration: all of it, and the place of links."""
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(r"^```nginx\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def configuration(*, links: bool) -> str:
    whole, place = blocks()
    if not links:
        return whole
    start = whole.index("    location /files/")
    return whole[:start] + place + "}\n"


@contextmanager
def nginx_before(url: str, deployment: Path, config: str):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    work = deployment.with_name("nginx")
    work.mkdir()
    config = config.replace("127.0.0.1:8000", urlsplit(url).netloc)
    config = config.replace("listen 80", f"listen 127.0.0.1:{port}")
    config = config.replace("/srv/quetz", str(deployment))
    config = config.replace("/var/log/nginx", str(work))
    user = "user root;" if os.geteuid() == 0 else ""  # who made the folder
    folders = "".join(
        f"{name}_temp_path {work}/{name};" for name in ("proxy", "client_body", "fastcgi")
    )
    folders += f"uwsgi_temp_path {work}/uwsgi; scgi_temp_path {work}/scgi; access_log off;"
    (work / "nginx.conf").write_text(
        f"{user} daemon off; pid {work}/pid; worker_processes 1;"
        f"events {{}} http {{ {folders}\n{config}\n}}"
    )
    command = [str(NGINX), "-p", str(work), "-c", str(work / "nginx.conf"), "-e", f"{work}/log"]
    process = subprocess.Popen(command)
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def wait_for(port: int) -> None:
    for _ in range(200):
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("nginx did not start")


@pytest.fixture
def site(request, tmp_path, pack):
    """Serve a package through nginx; return both addresses, a session and the package."""
    links = request.param == "links"
    path = tmp_path / "deployment"
    path.mkdir()
    secret = f'redirect_secret = "{SECRET}"\n' if links else ""
    (path / "config.toml").write_text(f"[local_store]\nredirect_enabled = true\n{secret}")
    run_quetz("create", str(path))
    package = pack("large", more_files={"payload": secrets.token_bytes(3_000_000)})
    session = requests.Session()
    session.trust_env = False
    session.headers["X-API-Key"] = owner_key(path)
    with (
        running_server(path) as server,
        nginx_before(server.url, path, configuration(links=links)) as url,
    ):
        channel: dict[str, Any] = {"name": "forge", "private": not links}
        session.post(f"{url}/api/channels", json=channel).raise_for_status()
        upload = f"{url}/api/channels/forge/upload/{package.name}"
        session.post(upload, data=package.read_bytes()).raise_for_status()
        yield url, server.url, session, package


def owner_key(path: Path) -> str:
    with (
        closing(Deployment.open(path)) as deployment,
        deployment.transaction(write=True) as database,
    ):
        user = create_user(database, OPERATOR, "alice", role=Role.OWNER)
        return create_api_key(
            database, principal_of(user), user, description="", expires_at=None, scopes=None
        ).key


def meant(answer) -> dict[str, str]:
    """Return the headers that say something of the file."""
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return {name: headers[name] for name in headers if name not in {"date", "server", "connection"}}


@pytest.mark.parametrize("site", ["X-Accel"], indirect=True)
def test_nginx_sends_a_package_as_the_server_would(site):
    url, direct, session, package = site
    path, data = f"/get/forge/noarch/{package.name}", package.read_bytes()

    ours, theirs = session.get(direct + path), session.get(url + path)

    assert theirs.content == ours.content == data
    assert theirs.headers["server"].startswith("nginx")
    assert meant(theirs) == meant(ours)


@pytest.mark.parametrize("site", ["X-Accel"], indirect=True)
def test_nginx_sends_ranges_and_the_server_says_what_a_client_has(site):
    url, _, session, package = site
    address, data = f"{url}/get/forge/noarch/{package.name}", package.read_bytes()
    etag = f'"{hashlib.sha256(data).hexdigest()}"'

    part = session.get(address, headers={"Range": "bytes=10-19", "If-Range": etag})
    stale = session.get(address, headers={"Range": "bytes=10-19", "If-Range": '"other"'})
    known = session.get(address, headers={"If-None-Match": etag})

    assert (part.status_code, part.content) == (206, data[10:20])
    assert (stale.status_code, stale.content) == (200, data)
    assert (known.status_code, known.content) == (304, b"")


@pytest.mark.parametrize("site", ["X-Accel"], indirect=True)
def test_nobody_comes_past_the_server_to_the_store(site):
    url, _, _, package = site
    digest = hashlib.sha256(package.read_bytes()).hexdigest()

    inside = requests.get(f"{url}/files/objects/{digest[:2]}/{digest}")
    stranger = requests.get(f"{url}/get/forge/noarch/{package.name}")

    assert [inside.status_code, stranger.status_code] == [404, 401]


@pytest.mark.parametrize("site", ["links"], indirect=True)
def test_nginx_takes_the_links_of_the_server_and_no_others(site):
    url, _, session, package = site
    address = f"{url}/get/forge/noarch/{package.name}"

    answer = session.get(address, allow_redirects=False)
    link = url + answer.headers["location"]

    assert answer.status_code == 307
    assert session.get(address).content == requests.get(link).content == package.read_bytes()
    assert requests.get(link.replace("expires=", "expires=1")).status_code == 403
    assert requests.get(link.partition("?")[0]).status_code == 403


@pytest.mark.parametrize("site", ["X-Accel", "links"], indirect=True)
def test_nginx_logs_neither_keys_nor_queries(site, tmp_path):
    url, _, session, package = site
    key, path = session.headers["X-API-Key"], f"/get/forge/noarch/{package.name}"

    fetched = requests.get(f"{url}/t/{key}{path}")
    for last in (f"{path}?key={key}", f"/t/{key}?a=/t/{key}", f"/t/{key}", "/get/end"):
        requests.get(url + last, headers={"Referer": f"{url}/t/{key}/"})

    log = logged(tmp_path / "nginx" / "quetz.log", until="GET /get/end")
    assert fetched.content == package.read_bytes()
    assert f'"GET /t/***{path} HTTP/1.1"' in log
    assert f'"GET {path} HTTP/1.1"' in log
    assert log.count('"GET /t/*** HTTP/1.1"') == 2
    assert key not in log
    assert "?" not in log


def logged(file: Path, *, until: str) -> str:
    """Return what a log holds once the last request is in it: nginx writes after it answered."""
    for _ in range(100):
        if until in (log := file.read_text()):
            return log
        time.sleep(0.05)
    raise AssertionError("nginx did not log the last request")
