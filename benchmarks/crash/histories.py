"""Clients that want the same files at once: does one story explain what all were told?"""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.crash.places import DATABASES, deployed
from benchmarks.figures import Figure
from quetz.testing.histories import check
from quetz.testing.racing import race
from quetz.testing.servers import running_server

ROUNDS, SECONDS, CLIENTS = 5, 5.0, 8


def measure(scale: float, folder: Path) -> Iterator[Figure]:
    for kind in DATABASES:
        with (
            deployed(kind, folder / kind) as driver,
            running_server(driver.path) as server,
        ):
            driver.url = server.url
            calls, reads, faults = 0, 0, []
            for number in range(max(1, round(ROUNDS * scale))):
                channel = f"race{number}"
                driver.make_channel(channel)
                history = race(
                    server.url, driver.key, channel, clients=CLIENTS, seconds=SECONDS, number=number
                )
                calls, reads = calls + len(history.calls), reads + len(history.reads)
                faults += check(history)
        basis = f"{calls:,} calls and {reads:,} reads of indexes by {CLIENTS} clients"
        basis += "".join(f"; {fault}" for fault in faults[:1])
        name = f"answers to racing clients on {kind} that no order of their calls explains"
        yield Figure(name, [len(faults)], "faults", 0, basis)
