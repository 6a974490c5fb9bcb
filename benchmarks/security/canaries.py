"""REL-18: no secret that clients send or get lies in the database, a log, or another answer."""

import base64
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.security.places import CHANNEL, Place, Reply, package, running
from benchmarks.security.revocation import _log_in

BOGUS = "qz-canarycanary0000-" + "c4n4rY" * 8 + "x"


def measure(scale: float, folder: Path) -> Iterator[Figure]:
    """Send secrets in every way to every route; ``scale`` has no effect."""
    work = folder / "server"
    with running(work, "--log-level", "debug") as place:
        place.make_key("canary")
        secrets = {"key": place.key, "bogus key": BOGUS, "cookie": _log_in(place, "canary")}
        secrets["key within"] = place.key.split("-")[2]
        secrets["new key"] = _new_key(place)
        replies = list(_ask(place, secrets))
        hits = [
            f"{name} in the answer to {what}"
            for what, reply in replies
            for name in _found(secrets, reply.body + repr(reply.headers).encode())
        ]
        hits += _files(work, secrets)
        # What is no secret must be found, or the search itself would be blind.
        assert list(_files(work, {"public id": place.key.split("-")[1]}))
    print(*hits[:20], sep="\n", end="\n" if hits else "", flush=True)
    basis = f"{len(secrets)} secrets, {len(replies)} answers, database, log and store"
    yield Figure("REL-18 secrets found where they should not be", [len(hits)], "hits", 0, basis)


def _new_key(place: Place) -> str:
    reply = place.post_json("/api/api-keys", {"description": "canary", "roles": []})
    assert reply.status == 201
    key: str = reply.json()["key"]
    return key


def _ask(place: Place, secrets: dict[str, str]) -> Iterator[tuple[str, Reply]]:
    name, content = package(place.deployment.parent)
    upload = f"/api/channels/{CHANNEL}/upload/{name}"
    described = place.ask("GET", "/openapi.json").json()["paths"]
    paths = [path for path, methods in described.items() if "get" in methods]
    paths += ["/get/{channel}/noarch/repodata.json", f"/get/{{channel}}/noarch/{name}", "/"]
    for path in [
        path.replace("{channel}", CHANNEL).replace("{", "").replace("}", "") for path in paths
    ]:
        for key in (secrets["key"], secrets["bogus key"], secrets["new key"]):
            basic = base64.b64encode(f"user:{key}".encode()).decode()
            yield path, place.ask("GET", path, key=key)
            yield f"/t/***{path}", place.ask("GET", f"/t/{key}{path}", key="")
            yield path, place.ask("GET", path, key="", Authorization=f"Bearer {key}")
            yield path, place.ask("GET", path, key="", Authorization=f"Basic {basic}")
        yield path, place.ask("GET", path, key="", Cookie=f"session={secrets['cookie']}")
    yield upload, place.ask("POST", upload, content)
    yield upload, place.ask("POST", f"/t/{secrets['key']}{upload}", content, key="")

    # Where a secret does not belong; its sender may be told what he sent, but no log.
    for key in (secrets["bogus key"], secrets["new key"]):
        yield "a channel", place.post_json("/api/channels", {"name": key, "private": key})
        yield (
            "a role",
            place.post_json(
                f"/api/channels/{CHANNEL}/members", {"username": "canary", "role": key}
            ),
        )
        yield "a key", place.ask("DELETE", f"/api/api-keys/{key}")
        yield "a body", place.ask("POST", "/api/channels", key.encode())


def _files(folder: Path, secrets: dict[str, str]) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_file():
            for name in _found(secrets, path.read_bytes()):
                yield f"{name} in {path.name}"


def _found(secrets: dict[str, str], data: bytes) -> list[str]:
    return [name for name, secret in secrets.items() if secret.encode() in data]
