"""Reading: the processor time that a server takes for one answer."""

import os
import secrets
import shutil
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from benchmarks.bare import ETAG
from benchmarks.client import CONNECTIONS, connected, get, hammer, post
from benchmarks.figures import Figure, NotRun, ratio
from benchmarks.machine import CLIENT_CPU, Session, pinned
from benchmarks.records import SUBDIR, insert_builds, one_of_each
from benchmarks.servers import (
    Running,
    bare_server,
    create_deployment,
    has_nginx,
    nginx_server,
    quetz_server,
    wait_until_published,
)
from quetz.deployment import Deployment
from quetz.services.publishing import SHARDS, Switch, mark_for_rebuild
from quetz.storage.keys import object_key
from quetz.storage.local import OBJECTS
from quetz.testing.packages import build_package

SECONDS = 1.0
"""How long a round asks one server: the kernel's clock of processor time ticks at 100 Hz."""

NAMES = 29_000
"""As many as a channel of half a million packages has; its shard index has 1.2 MB."""

SMALL, LARGE = "small", "large"
SIZES = {SMALL: 98_000, LARGE: 56_000_000}


@dataclass(frozen=True)
class Kind:
    """What is asked for, with goals to the bare app and to nginx."""

    name: str
    status: int = 200
    to_bare: float | None = None
    to_nginx: float | None = None
    connections: int = CONNECTIONS


KINDS = {
    "304": Kind("304 on the shard index", 304, to_bare=1.6),
    "304 of many": Kind("304 on the shard index of 29,000 names", 304, to_bare=1.6),
    "index": Kind("shard index of one name", to_bare=1.6),
    "index of many": Kind("shard index of 29,000 names", to_bare=1.6),
    SMALL: Kind("package of 100 KB", to_bare=1.5, to_nginx=3.0),
    # One at a time: else the client's memory and its processor are what is measured.
    LARGE: Kind("package of 56 MB", to_nginx=2.5, connections=1),
}

PEERS = {
    "bare": "the bare app on the same server",
    "nginx": "nginx from the page cache",
    "logging": "quetz with its default log level, which logs each request",
}
THROUGH_NGINX = {SMALL: None, LARGE: 1.1}
"""What nginx sends on the word of quetz, with a goal to nginx alone."""


@dataclass(frozen=True)
class Target:
    """A server, all processes that work for it, and the request to send it for each kind."""

    port: int
    sessions: tuple[Session, ...]
    requests: Mapping[str, bytes]


Costs = dict[str, list[float]]
"""Microseconds a request: a list for each server, a value a round."""


def measure(folder: Path, rounds: int) -> list[Figure | NotRun]:
    files = folder / "files"
    files.mkdir()
    packages = {
        name: build_package(files, name, files={"payload": secrets.token_bytes(size)})
        for name, size in SIZES.items()
    }
    filled = folder / "filled"
    _fill(filled, packages)
    with ExitStack() as servers:
        quetz = _quetz(servers, _copy(filled, "quetz"), packages, "--log-level", "warning")
        targets = {
            # The bare app and nginx write no access log either.
            "quetz": quetz,
            "logging": _quetz(servers, _copy(filled, "logging"), packages),
            "bare": _bare(servers, packages, quetz),
        }
        if has_nginx():
            nginx = servers.enter_context(nginx_server(filled / "store", folder / "nginx"))
            targets["nginx"] = _nginx(nginx, packages)
            targets["through"] = _through_nginx(servers, _copy(filled, "through"), packages)
        servers.enter_context(pinned(CLIENT_CPU))
        return _figures(_rounds(targets, rounds))


def _fill(deployment: Path, packages: Mapping[str, Path]) -> None:
    """Make a deployment with a channel of the packages, and one of many names."""
    key = create_deployment(deployment)
    with (
        closing(Deployment.open(deployment)) as opened,
        opened.transaction(write=True) as session,
    ):
        channel_id, _ = insert_builds(session, "many", one_of_each(NAMES))
        mark_for_rebuild(session, Switch(channel_id, SUBDIR, SHARDS))
    with quetz_server(deployment) as server, connected(server.port) as connection:
        body = b'{"name": "forge", "private": false}'
        head = post("/api/channels", len(body), X_API_Key=key, Content_Type="application/json")
        connection.ask(head + body).expect(201)
        for package in packages.values():
            path = f"/api/channels/forge/upload/{package.name}"
            head = post(path, package.stat().st_size, X_API_Key=key)
            connection.send_file(head, package).expect(201)
        wait_until_published(deployment)


def _copy(deployment: Path, name: str) -> Path:
    """Copy a deployment, but link its objects: the page cache may hold copies less well."""

    def copy(source: str, target: str) -> None:
        if f"/{OBJECTS}/" in source:
            os.link(source, target)
        else:
            shutil.copy2(source, target)

    return Path(shutil.copytree(deployment, deployment.with_name(name), copy_function=copy))


def _quetz(
    servers: ExitStack, deployment: Path, packages: Mapping[str, Path], *options: str
) -> Target:
    server = servers.enter_context(quetz_server(deployment, *options))
    return Target(server.port, (server.session,), _requests(server, packages))


def _requests(server: Running, packages: Mapping[str, Path]) -> dict[str, bytes]:
    one = "/get/forge/noarch/repodata_shards.msgpack.zst"
    many = f"/get/many/{SUBDIR}/repodata_shards.msgpack.zst"
    requests = {name: get(f"/get/forge/noarch/{path.name}") for name, path in packages.items()}
    requests |= {"index": get(one), "index of many": get(many)}
    with connected(server.port) as connection:
        for kind, path in (("304", one), ("304 of many", many)):
            etag = connection.ask(get(path)).expect(200).etag
            requests[kind] = get(path, If_None_Match=etag.decode())
    return requests


def _bare(servers: ExitStack, packages: Mapping[str, Path], quetz: Target) -> Target:
    """Start the bare app, which sends as many bytes as quetz does."""
    server = servers.enter_context(bare_server(packages[SMALL]))
    known = get("/index", If_None_Match=ETAG.decode())
    requests = {"304": known, "304 of many": known, SMALL: get("/package")}
    with connected(quetz.port) as connection:
        for kind in ("index", "index of many"):
            size = len(connection.ask(quetz.requests[kind]).expect(200).body)
            requests[kind] = get(f"/memory/{size}")
    return Target(server.port, (server.session,), requests)


def _nginx(server: Running, packages: Mapping[str, Path]) -> Target:
    keys = {
        name: object_key(sha256(path.read_bytes()).hexdigest()) for name, path in packages.items()
    }
    requests = {name: get(f"/{key}") for name, key in keys.items()}
    with connected(server.port) as connection:
        etag = connection.ask(requests[SMALL]).expect(200).etag
    requests["304"] = get(f"/{keys[SMALL]}", If_None_Match=etag.decode())
    return Target(server.port, (server.session,), requests)


def _through_nginx(servers: ExitStack, deployment: Path, packages: Mapping[str, Path]) -> Target:
    """Start quetz behind an nginx that sends the packages on its word."""
    config = deployment / "config.toml"
    text = config.read_text().replace("dev = true", "dev = false")
    config.write_text(f"{text}\n[local_store]\nredirect_enabled = true\n")
    server = servers.enter_context(quetz_server(deployment, "--log-level", "warning"))
    work = deployment.with_name("nginx-in-front")
    nginx = servers.enter_context(nginx_server(deployment / "store", work, server))
    requests = {name: get(f"/get/forge/noarch/{path.name}") for name, path in packages.items()}
    return Target(nginx.port, (nginx.session, server.session), requests)


def _rounds(targets: dict[str, Target], rounds: int) -> dict[str, Costs]:
    costs: dict[str, Costs] = {
        kind: {name: [] for name, target in targets.items() if kind in target.requests}
        for kind in KINDS
    }
    for _ in range(rounds):
        for kind, taken in costs.items():
            for name, values in taken.items():
                values.append(_cost(targets[name], kind))
    return costs


def _cost(target: Target, kind: str) -> float:
    asked, request = KINDS[kind], target.requests[kind]

    def ask(seconds: float) -> int:
        return hammer(
            target.port,
            request,
            seconds,
            status=asked.status,
            connections=asked.connections,
        )

    ask(SECONDS / 10)
    before = _cpu_seconds(target)
    count = ask(SECONDS)
    return (_cpu_seconds(target) - before) / count * 1e6


def _cpu_seconds(target: Target) -> float:
    return sum(session.cpu_seconds() for session in target.sessions)


def _figures(costs: dict[str, Costs]) -> list[Figure | NotRun]:
    figures: list[Figure | NotRun] = []
    for key, kind in KINDS.items():
        taken = costs[key]
        if "bare" in taken:
            figures.append(
                _against("bare", taken, f"{kind.name}, to a bare ASGI app", kind.to_bare)
            )
        if key not in {"304 of many", "index", "index of many"}:
            figures.append(_against("nginx", taken, f"{kind.name}, to nginx", kind.to_nginx))
        figures.append(_against("logging", taken, f"{kind.name}, to one that is logged", None))
    for key, goal in THROUGH_NGINX.items():
        name = f"{KINDS[key].name} through nginx by X-Accel-Redirect, to nginx alone"
        figures.append(_against("nginx", costs[key], name, goal, ours="through"))
    return figures


def _against(
    peer: str, costs: Costs, name: str, goal: float | None, *, ours: str = "quetz"
) -> Figure | NotRun:
    if peer not in costs:
        return NotRun(name, f"{peer} missing")
    against = f"server CPU a request, {PEERS[peer]}"
    return ratio(name, costs[ours], costs[peer], goal=goal, unit="µs", against=against)
