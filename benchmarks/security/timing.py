"""REL-22: how long an answer takes does not tell a hidden thing from one that does not exist."""

import http.client
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure
from benchmarks.security.places import CHANNEL, SECRET_CHANNEL, Place, package, running, send

PAIRS = 1_000
ABSENT = "absent"
_UNKNOWN_KEY = "qz-0123456789abcdef-" + "0" * 49


def measure(scale: float, folder: Path) -> Iterator[Figure]:
    pairs = max(20, int(PAIRS * scale))
    with running(folder / "server") as place:
        name, content = package(folder)
        for channel in (CHANNEL, SECRET_CHANNEL):
            path = f"/api/channels/{channel}/upload/{name}"
            assert place.ask("POST", path, content).status == 201
        stranger = place.make_key("stranger")
        for who, key in (("anonymous", ""), ("a stranger", stranger)):
            for method, path in _paths(name):
                gap = _gap(place, method, path, key, pairs)
                title = f"REL-22 {method} {path}, {who}: gap between hidden and missing"
                yield Figure(title, [gap * 1000], "ms", 5, f"medians of {pairs} pairs")
        wrong = place.key[:-10] + "0" * 10
        gap = abs(
            _median(place, "GET", "/api/api-keys", _UNKNOWN_KEY, pairs)
            - _median(place, "GET", "/api/api-keys", wrong, pairs)
        )
        title = "REL-22 gap between an unknown key and one with a wrong secret"
        yield Figure(title, [gap * 1000], "ms", 5, f"medians of {pairs} pairs")


def _paths(name: str) -> list[tuple[str, str]]:
    channel = "/api/channels/{channel}"
    return [
        ("GET", channel),
        ("GET", f"{channel}/packages/pkg"),
        ("GET", f"{channel}/packages/pkg/versions/noarch/{name}"),
        ("GET", "/get/{channel}/noarch/repodata.json"),
        ("GET", f"/get/{{channel}}/noarch/{name}"),
        ("POST", f"{channel}/upload/{name}"),
        ("DELETE", channel),
    ]


def _gap(place: Place, method: str, path: str, key: str, pairs: int) -> float:
    """Ask for one and the other in turn; return how far apart their medians are, in seconds."""
    times: dict[str, list[float]] = {SECRET_CHANNEL: [], ABSENT: []}
    connection = http.client.HTTPConnection("localhost", place.port, timeout=60)
    for number in range(pairs):
        order = list(times) if number % 2 else list(times)[::-1]
        for channel in order:
            times[channel].append(_seconds(connection, method, path.format(channel=channel), key))
    connection.close()
    return abs(median(times[SECRET_CHANNEL]) - median(times[ABSENT]))


def _median(place: Place, method: str, path: str, key: str, count: int) -> float:
    connection = http.client.HTTPConnection("localhost", place.port, timeout=60)
    times = [_seconds(connection, method, path, key) for _ in range(count)]
    connection.close()
    return median(times)


def _seconds(connection: http.client.HTTPConnection, method: str, path: str, key: str) -> float:
    began = time.perf_counter()
    reply = send(connection, method, path, None, key)
    assert reply.status in {401, 404, 429}, reply
    return time.perf_counter() - began
