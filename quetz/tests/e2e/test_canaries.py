"""No secret that a server is shown is in its log, its errors, its metrics or its database."""

import base64
import http.client
import json
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa

from quetz.deployment import Deployment
from quetz.services.api_keys import create_api_key
from quetz.services.permissions import OPERATOR
from quetz.services.sessions import start_session
from quetz.testing.factories import make_channel, make_user
from quetz.testing.servers import running_server
from quetz.web.csrf import token_of

UNKNOWN = "qz-0123456789abcdef-" + "canary0" * 7

PATHS = (
    "/api/channels",
    "/api/channels/closed",
    "/api/channels/{secret}",
    "/api/channels/closed/packages?q={secret}",
    "/api/channels/closed/packages/{secret}",
    "/api/channels/closed/packages/x/versions?version_match_str={secret}",
    "/api/channels/{encoded}",
    "/api/users/{secret}",
    "/api/me",
    "/api/api-keys",
    "/api/keys",
    "/api/nothing/{secret}",
    "/get/closed/noarch/repodata.json",
    "/get/closed/noarch/{secret}-1-0.conda",
    "/get/closed/{secret}/repodata.json",
    "/get/{secret}/noarch/repodata.json",
    "/t/{secret}/get/closed/noarch/repodata.json",
    "/t/{secret}/api/channels/closed",
    "/t/{secret}/t/{secret}/api/me",
    "/t/{encoded}/api/nothing",
    "/t/{secret}",
    "/{secret}",
    "/health/ready?token={secret}",
    "/metricsp",
)
CHANGES: tuple[tuple[str, str, Any], ...] = (
    ("POST", "/api/channels", {"name": "{secret}"}),
    ("POST", "/api/channels", {"name": ["{secret}"]}),
    ("POST", "/api/channels", {"name": "x", "private": "{secret}", "{secret}": 1}),
    ("POST", "/api/api-keys", {"description": "", "roles": [{"channel": "{secret}"}]}),
    ("POST", "/api/keys", {"description": "", "verbs": ["{secret}"]}),
    ("POST", "/api/api-keys/revoke-leaked", {"key": "{secret}x", "secret": "{secret}"}),
    ("POST", "/api/api-keys/revoke-leaked", {"keys": "{secret}"}),
    ("DELETE", "/api/api-keys/{secret}x", None),
    ("DELETE", "/api/keys/{encoded}x", None),
    ("POST", "/api/channels/closed/upload/{secret}-1-0.conda", None),
    ("POST", "/api/channels/closed/upload/{secret}", {}),
    ("POST", "/api/channels/closed/members", {"username": "{secret}", "role": "owner"}),
    ("DELETE", "/api/channels/closed/members?username={secret}", None),
    ("PUT", "/t/{secret}/api/channels/closed", {"{secret}": "{secret}"}),
)


@pytest.fixture
def secrets(deployment_path):
    """Keys, live and dead, and the cookie and the token of a login, of an owner."""
    with (
        closing(Deployment.open(deployment_path)) as opened,
        opened.transaction(write=True) as session,
    ):
        owner = make_user(session, "olga", role="owner")
        make_channel(session, "closed", private=True, owner=owner)
        live, revoked = (
            create_api_key(session, OPERATOR, owner, description="", expires_at=None, scopes=None)
            for _ in range(2)
        )
        revoked.row.revoked_at = 1
        cookie = start_session(session, owner, "dummy")
    return {
        "live": live.key,
        "revoked": revoked.key,
        "unknown": UNKNOWN,
        "cookie": cookie,
        "token": token_of(cookie),
    }


def ways_to_show(secret, secrets):
    """Yield the headers that a secret may come in."""
    basic = base64.b64encode(f"olga:{secret}".encode()).decode()
    yield {"X-API-Key": secret}
    yield {"Authorization": f"Bearer {secret}"}
    yield {"Authorization": f"Basic {basic}"}
    yield {"Cookie": f"a=b; __Host-session={secret}; session={secret}"}
    yield {
        "Cookie": f"__Host-session={secrets['cookie']}",
        "X-CSRF": secret,
        "Sec-Fetch-Site": "same-origin",
    }
    yield {"Referer": f"http://host/t/{secret}/", "Origin": f"http://{secret}"}


def requests(secrets):
    """Yield method, path, headers and body of each request."""
    asking = [("GET", path, None) for path in PATHS]
    for secret in secrets.values():
        texts = {"secret": secret, "encoded": secret.replace("-", "%2D")}
        for headers, (method, path, body) in product(
            ways_to_show(secret, secrets), (*asking, *CHANGES)
        ):
            text = None if body is None else json.dumps(body).replace("{secret}", secret)
            yield method, path.format(**texts), headers, text
    yield "POST", "/api/api-keys/revoke-leaked", {}, json.dumps({"key": secrets["live"]})
    yield "GET", "/api/channels/closed", {"X-API-Key": secrets["live"]}, None


def send_all(server, secrets):
    """Send every request, and return what was answered, headers included."""
    host = urlsplit(server.url).netloc
    told = []
    for method, path, headers, body in requests(secrets):
        # One for each: the server closes those whose body it did not read.
        with closing(http.client.HTTPConnection(host, timeout=60)) as connection:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            told.append((method, path, answer.status, f"{answer.headers}{answer.read()!r}"))
    return told


def stored(path):
    """Return all that the database holds, as text; of SQLite the bytes of its files, too."""
    texts = []
    with closing(Deployment.open(path)) as opened:
        metadata = sa.MetaData()
        metadata.reflect(opened.engine)
        with opened.engine.connect() as connection:
            for table in metadata.sorted_tables:
                texts += [str(tuple(row)) for row in connection.execute(sa.select(table))]
        if opened.engine.dialect.name == "sqlite":
            file = Path(str(opened.engine.url.database))
            files = file.parent.glob(f"{file.name}*")  # with its log
            texts += [one.read_bytes().decode("latin-1") for one in files]
    return "\n".join(texts)


def test_no_secret_is_in_log_answers_or_database(deployment_path, secrets, monkeypatch):
    monkeypatch.setenv("QUETZ_SQLALCHEMY_ECHO_SQL", "true")
    for limit in ("KEY_FAILURES", "LEAKED_KEYS"):
        monkeypatch.setenv(f"QUETZ_LIMITS_{limit}", "0")
    canaries = {name: secret.split("-", 2)[-1][:30] for name, secret in secrets.items()}
    canaries |= {name: secrets[name].split("-", 1)[1][:30] for name in ("cookie", "token")}
    with running_server(deployment_path, "--log-level", "trace") as server:
        told = send_all(server, secrets)
        log = server.log

    lines = log.read_text(encoding="utf-8")
    held = stored(deployment_path)
    hits = {
        name: {
            "log": [line for line in lines.splitlines() if canary in line][:3],
            "answers": [one for one in told if canary in one[3]][:3],
            "database": canary in held,
        }
        for name, canary in canaries.items()
    }
    assert hits == {name: {"log": [], "answers": [], "database": False} for name in canaries}
    assert len(told) > 1000
    assert {one[2] for one in told} >= {200, 401, 403, 404, 422}
    assert max(one[2] for one in told) < 500
    assert told[-1][2] == 401
    assert "/t/***" in lines
    assert "FROM api_keys" in lines
