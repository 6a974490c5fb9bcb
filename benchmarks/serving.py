"""Reading: the processor time that a server takes for one answer."""

import secrets
from contextlib import ExitStack
from pathlib import Path

from benchmarks.bare import ETAG
from benchmarks.client import connected, get, hammer, post
from benchmarks.figures import Figure, NotRun, ratio
from benchmarks.machine import CLIENT_CPU, pinned
from benchmarks.servers import (
    Running,
    bare_server,
    create_deployment,
    has_nginx,
    nginx_server,
    quetz_server,
    wait_until_published,
)
from quetz.testing.packages import build_package

SECONDS = 1.0
"""How long a round asks one server: the kernel's clock of processor time ticks at 100 Hz."""

KINDS = {304: "304 on the shard index", 200: "package of 100 KB"}
GOALS = {304: (1.6, None), 200: (1.5, 3.0)}
"""To the bare app, and to nginx."""

PEERS = {
    "bare": "the bare app on the same server",
    "nginx": "nginx from the page cache",
    "logging": "quetz with its default log level, which logs each request",
}


def measure(folder: Path, rounds: int) -> list[Figure | NotRun]:
    files = folder / "files"
    files.mkdir()
    package = build_package(files, "large", files={"payload": secrets.token_bytes(98_000)})
    with ExitStack() as servers:
        bare = servers.enter_context(bare_server(package))
        targets = {
            # The bare app and nginx write no access log either.
            "quetz": _quetz(servers, folder / "quetz", package, "--log-level", "warning"),
            "logging": _quetz(servers, folder / "logging", package),
            "bare": _bare_requests(bare),
        }
        if has_nginx():
            nginx = servers.enter_context(nginx_server(files, folder / "nginx"))
            targets["nginx"] = _nginx_requests(nginx, package)
        servers.enter_context(pinned(CLIENT_CPU))
        return _figures(_rounds(targets, rounds))


Target = tuple[Running, dict[int, bytes]]
"""A server, and the request to send it for each status."""

Costs = dict[str, list[float]]
"""Microseconds a request: a list for each server, a value a round."""


def _quetz(servers: ExitStack, deployment: Path, package: Path, *options: str) -> Target:
    """Start quetz with a channel that holds the package."""
    key = create_deployment(deployment)
    server = servers.enter_context(quetz_server(deployment, *options))
    _fill(server, key, package)
    wait_until_published(deployment)
    return _quetz_requests(server, package)


def _fill(server: Running, key: str, package: Path) -> None:
    with connected(server.port) as connection:
        body = b'{"name": "forge", "private": false}'
        head = post("/api/channels", len(body), X_API_Key=key, Content_Type="application/json")
        connection.ask(head + body).expect(201)
        data = package.read_bytes()
        path = f"/api/channels/forge/upload/{package.name}"
        connection.ask(post(path, len(data), X_API_Key=key) + data).expect(201)


def _quetz_requests(server: Running, package: Path) -> Target:
    index = "/get/forge/noarch/repodata_shards.msgpack.zst"
    with connected(server.port) as connection:
        etag = connection.ask(get(index)).expect(200).etag
    return server, {
        304: get(index, If_None_Match=etag.decode()),
        200: get(f"/get/forge/noarch/{package.name}"),
    }


def _bare_requests(server: Running) -> Target:
    return server, {304: get("/index", If_None_Match=ETAG.decode()), 200: get("/package")}


def _nginx_requests(server: Running, package: Path) -> Target:
    path = f"/{package.name}"
    with connected(server.port) as connection:
        etag = connection.ask(get(path)).expect(200).etag
    return server, {304: get(path, If_None_Match=etag.decode()), 200: get(path)}


def _rounds(targets: dict[str, Target], rounds: int) -> dict[int, Costs]:
    costs: dict[int, Costs] = {status: {name: [] for name in targets} for status in KINDS}
    for _ in range(rounds):
        for status, taken in costs.items():
            for name, (server, requests) in targets.items():
                taken[name].append(_cost(server, requests[status], status))
    return costs


def _cost(server: Running, request: bytes, status: int) -> float:
    hammer(server.port, request, SECONDS / 10, status=status)
    before = server.session.cpu_seconds()
    count = hammer(server.port, request, SECONDS, status=status)
    return (server.session.cpu_seconds() - before) / count * 1e6


def _figures(costs: dict[int, Costs]) -> list[Figure | NotRun]:
    figures: list[Figure | NotRun] = []
    for status, name in KINDS.items():
        to_bare, to_nginx = GOALS[status]
        figures += [
            _against("bare", costs[status], f"{name}, to a bare ASGI app", to_bare),
            _against("nginx", costs[status], f"{name}, to nginx", to_nginx),
            _against("logging", costs[status], f"{name}, to one that is logged", None),
        ]
    return figures


def _against(peer: str, costs: Costs, name: str, goal: float | None) -> Figure | NotRun:
    if peer not in costs:
        return NotRun(name, f"{peer} missing")
    against = f"server CPU a request, {PEERS[peer]}"
    return ratio(name, costs["quetz"], costs[peer], goal=goal, unit="µs", against=against)
