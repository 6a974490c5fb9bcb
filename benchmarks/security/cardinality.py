"""REL-23: what strangers ask for makes no new time series."""

import random
import re
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure, NotRun
from benchmarks.security.paths import Wire
from benchmarks.security.places import CHANNEL, Place, running

PATHS = 100_000


def measure(scale: float, folder: Path) -> Iterator[Figure | NotRun]:
    count = int(PATHS * scale)
    with running(folder / "server") as place:
        if place.ask("GET", "/metricsp").status == 404:
            yield NotRun("REL-23 time series", "the server has no /metricsp")
            return
        _ask(place, 2_000, seed=1)  # so that every series there can be is there
        before = _series(place)
        _ask(place, count, seed=2)
        after = _series(place)
    basis = f"{len(before)} series, {count} random paths"
    new = len(after ^ before)
    yield Figure("REL-23 time series that random paths made", [new], "series", 0, basis)
    named = sum(CHANNEL in line or "nobody-" in line for line in after)
    yield Figure("REL-23 series that name a channel or package", [named], "series", 0, basis)


def _ask(place: Place, count: int, *, seed: int) -> None:
    chance = random.Random(seed)
    wire = Wire(place.port)
    for _ in range(count):
        word = f"nobody-{chance.randbytes(4).hex()}"
        path = chance.choice(_PATHS).format(word)
        method = chance.choice(["GET", "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "BREW"])
        key = f"X-API-Key: {place.key}\r\n" if chance.random() < 0.3 else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{key}Content-Length: 0\r\n\r\n"
        wire.ask(head.encode())
    wire.close()


_PATHS = [
    "/{}",
    "/{}/{}",
    "/api/{}",
    "/api/channels/{}",
    "/api/channels/{}/packages/{}",
    f"/api/channels/{CHANNEL}/packages/{{}}",
    f"/api/channels/{CHANNEL}/packages/{{}}/versions/noarch/{{}}-1-0.conda",
    "/api/users/{}",
    "/get/{}/noarch/repodata.json",
    f"/get/{CHANNEL}/{{}}/repodata.json",
    f"/get/{CHANNEL}/noarch/{{}}-1-0.conda",
    "/t/{}/get/x/noarch/repodata.json",
    "/metrics/channels/{}",
]
_PATHS = [path.replace("{}", "{0}") for path in _PATHS]


def _series(place: Place) -> set[str]:
    """Return the names and labels of all series that count requests."""
    text = place.ask("GET", "/metricsp").body.decode()
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return {re.sub(r" [^ ]+$", "", line) for line in lines}
