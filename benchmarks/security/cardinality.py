"""REL-23: what strangers ask for makes no new time series."""

import random
import re
import secrets
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path

from benchmarks.figures import Figure, NotRun
from benchmarks.security.paths import Wire
from benchmarks.security.places import CHANNEL, Place, running

PATHS = 100_000
WARM = 80  # rounds: the rate of dead keys has to be reached, too


def measure(scale: float, folder: Path) -> Iterator[Figure | NotRun]:
    count = int(PATHS * scale)
    with running(folder / "server") as place:
        if place.ask("GET", "/metricsp").status == 404:
            yield NotRun("REL-23 time series", "the server has no /metricsp")
            return
        _ask(place, [*_kinds()] * WARM)  # so that every series there can be is there
        before = _series(place)
        _ask(place, random.Random(2).choices([*_kinds()], k=count))
        after = _series(place)
    basis = f"{len(before)} series, {count} random paths"
    new = sorted(after ^ before)
    print(*new[:20], sep="\n", end="\n" if new else "", flush=True)
    yield Figure("REL-23 time series that random paths made", [len(new)], "series", 0, basis)
    named = sum(CHANNEL in line or "nobody-" in line for line in after)
    yield Figure("REL-23 series that name a channel or package", [named], "series", 0, basis)


def _kinds() -> Iterator[tuple[str, str, bool]]:
    """Yield each method and path, with a key and without."""
    yield from product(_METHODS, _PATHS, (False, True))


def _ask(place: Place, kinds: Iterable[tuple[str, str, bool]]) -> None:
    """Ask once for each of ``kinds``, by names that nothing has."""
    wire = Wire(place.port)
    for method, path, with_key in kinds:
        target = path.format(f"nobody-{secrets.token_hex(4)}")
        key = f"X-API-Key: {place.key}\r\n" if with_key else ""
        head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n{key}Content-Length: 0\r\n\r\n"
        wire.ask(head.encode())
    wire.close()


_METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "BREW"]
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
_PATHS = [path.replace("{}", "{0}") for path in _PATHS]  # one name wherever a path has two


def _series(place: Place) -> set[str]:
    """Return the names and labels of all series that count requests."""
    text = place.ask("GET", "/metricsp").body.decode()
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return {re.sub(r" [^ ]+$", "", line) for line in lines}
