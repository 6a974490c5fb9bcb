"""Reading: the processor time that a server takes for one answer."""

import secrets
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


def measure(folder: Path, rounds: int) -> list[Figure | NotRun]:
    files = folder / "files"
    files.mkdir()
    package = build_package(files, "large", files={"payload": secrets.token_bytes(98_000)})
    key = create_deployment(folder / "deployment")
    with (
        quetz_server(folder / "deployment") as quetz,
        bare_server(package) as bare,
        pinned(CLIENT_CPU),
    ):
        _fill(quetz, key, package)
        wait_until_published(folder / "deployment")
        targets = [_quetz_requests(quetz, package), _bare_requests(bare)]
        if not has_nginx():
            return _figures(_rounds(targets, rounds))
        with nginx_server(files, folder / "nginx") as nginx:
            targets.append(_nginx_requests(nginx, package))
            return _figures(_rounds(targets, rounds))


Target = tuple[Running, dict[int, bytes]]
"""A server, and the request to send it for each status."""


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


Costs = dict[int, list[list[float]]]
"""Microseconds a request: by status, then a list for each server, a value a round."""


def _rounds(targets: list[Target], rounds: int) -> Costs:
    costs: Costs = {status: [[] for _ in targets] for status in KINDS}
    for _ in range(rounds):
        for status in KINDS:
            for (server, requests), taken in zip(targets, costs[status], strict=True):
                taken.append(_cost(server, requests[status], status))
    return costs


def _cost(server: Running, request: bytes, status: int) -> float:
    hammer(server.port, request, SECONDS / 10, status=status)
    before = server.session.cpu_seconds()
    count = hammer(server.port, request, SECONDS, status=status)
    return (server.session.cpu_seconds() - before) / count * 1e6


def _figures(costs: Costs) -> list[Figure | NotRun]:
    goals = {304: (1.6, None), 200: (1.5, 3.0)}
    figures: list[Figure | NotRun] = []
    for status, name in KINDS.items():
        quetz, bare, *nginx = costs[status]
        to_bare, to_nginx = goals[status]
        figures.append(
            ratio(
                f"{name}, to a bare ASGI app",
                quetz,
                bare,
                goal=to_bare,
                unit="µs",
                against="server CPU a request, the bare app on the same server",
            )
        )
        if not nginx:
            figures.append(NotRun(f"{name}, to nginx", "nginx missing"))
            continue
        figures.append(
            ratio(
                f"{name}, to nginx",
                quetz,
                nginx[0],
                goal=to_nginx,
                unit="µs",
                against="server CPU a request, nginx from the page cache",
            )
        )
    return figures
