"""REL-11: of several who upload different bytes by one name at once, exactly one wins."""

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.security.places import CHANNEL, Place, package, running, together

ROUNDS = 1_000
WRITERS = 8
INDEX_SECONDS = 30


def measure(scale: float, folder: Path) -> list[Figure]:
    rounds = max(1, int(ROUNDS * scale))
    with running(folder / "server") as place:
        winners: dict[str, str] = {}
        faults = [
            f"round {number}: {fault}"
            for number in range(rounds)
            for fault in _race(place, number, winners)
        ]
        faults += _index_faults(place, winners)
    print(*faults[:20], sep="\n", end="\n" if faults else "", flush=True)
    name = "REL-11 races for a name without one winner, or with other bytes than his"
    return [Figure(name, [len(faults)], "faults", 0, f"{rounds} rounds of {WRITERS} writers")]


def _race(place: Place, number: int, winners: dict[str, str]) -> Iterator[str]:
    version = f"1.{number}"
    contents = [
        package(place.deployment.parent, version=version, files={"share/x": bytes([writer])})
        for writer in range(WRITERS)
    ]

    def upload(writer: int) -> int:
        name, content = contents[writer]
        return place.ask("POST", f"/api/channels/{CHANNEL}/upload/{name}", content).status

    statuses = together(upload, range(WRITERS), WRITERS)
    if sorted(statuses) != [201] + [409] * (WRITERS - 1):
        yield f"answered {statuses}"
    if 201 in statuses:
        name, content = contents[statuses.index(201)]
        winners[name] = hashlib.sha256(content).hexdigest()
        if place.ask("GET", f"/get/{CHANNEL}/noarch/{name}").body != content:
            yield "other bytes are served than the winner's"


def _index_faults(place: Place, winners: dict[str, str]) -> list[str]:
    """Wait until the index has as many files as were won; compare their hashes."""
    end = time.monotonic() + INDEX_SECONDS
    while True:
        index = place.ask("GET", f"/get/{CHANNEL}/noarch/repodata.json").json()
        listed = {name: record["sha256"] for name, record in index["packages.conda"].items()}
        if listed == winners:
            return []
        if time.monotonic() > end:
            return [f"the index differs in {sorted(listed.items() ^ winners.items())[:4]}"]
        time.sleep(0.1)
