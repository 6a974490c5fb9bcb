"""REL-12: many upload at once, and all of it is taken and listed in time."""

import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.security.places import CHANNEL, Place, package, running, together
from quetz.testing.databases import create_database
from quetz.testing.postgresql import server_folder, server_url

P99_SECONDS = 5
INDEX_SECONDS = 5


def measure(scale: float, folder: Path) -> Iterator[Figure]:
    with running(folder / "sqlite") as place:
        yield from _measure(place, "SQLite", max(10, int(200 * scale)), 50)
    with server_folder() as server:
        url = create_database(server_url(server), "quetz_crowds", "")
        text = url.render_as_string(hide_password=False)
        with running(folder / "postgresql", database_url=text) as place:
            yield from _measure(place, "PostgreSQL", max(10, int(1_000 * scale)), 200)


def _measure(place: Place, kind: str, uploads: int, threads: int) -> Iterator[Figure]:
    contents = [
        package(place.deployment.parent, f"name{number}", files={"share/x": bytes([number % 256])})
        for number in range(uploads)
    ]

    def upload(number: int) -> tuple[int, float]:
        name, content = contents[number]
        began = time.perf_counter()
        status = place.ask("POST", f"/api/channels/{CHANNEL}/upload/{name}", content).status
        return status, time.perf_counter() - began

    results = together(upload, range(uploads), threads)
    listed = _seconds_until_listed(place, {name for name, _ in contents})
    failed = sum(status != 201 for status, _ in results)
    times = sorted(seconds for _, seconds in results)
    basis = f"{uploads} uploads from {threads} threads"
    yield Figure(f"REL-12 {kind}: uploads not answered 201", [failed], "uploads", 0, basis)
    p99 = times[int(len(times) * 0.99) - 1]
    yield Figure(f"REL-12 {kind}: p99 of an upload", [p99], "s", P99_SECONDS, basis)
    name = f"REL-12 {kind}: from the last 201 until all are in the index"
    yield Figure(name, [listed], "s", INDEX_SECONDS, basis)


def _seconds_until_listed(place: Place, names: set[str]) -> float:
    began = time.perf_counter()
    while True:
        index = place.ask("GET", f"/get/{CHANNEL}/noarch/repodata.json").json()
        passed = time.perf_counter() - began
        if names <= index["packages.conda"].keys() or passed > 60:
            return passed
        time.sleep(0.05)
