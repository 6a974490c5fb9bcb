"""REL-24: who guesses is slowed down, and nobody else is."""

import http.client
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.security.places import CHANNEL, Place, running, send

TRIES = 200
LEGITIMATE = 300


def measure(scale: float, folder: Path) -> Iterator[Figure]:
    """Guess until 429; ``scale`` has no effect, for the limits have none."""
    with running(folder / "server") as place:
        quiet = _p99(place)
        keys = _until_429(lambda number: _guess_key(place, number))
        name = f"REL-24 guessed keys until 429 (none within {TRIES})"
        yield Figure(name, [keys], "guesses", 101, "one address, within a minute")
        busy = _p99(place)
        yield Figure(
            "REL-24 p99 of who has a key, meanwhile, to before",
            [busy / quiet],
            "x",
            3,
            f"{busy * 1000:.1f} ms against {quiet * 1000:.1f} ms",
        )


def _guess_key(place: Place, number: int) -> int:
    guess = f"qz-{number:016d}-{'0' * 49}"
    return place.ask("GET", "/api/api-keys", key=guess).status


def _until_429(guess: Callable[[int], int]) -> int:
    """Return the number of the guess that was answered 429."""
    for number in range(1, TRIES + 1):
        if guess(number) == 429:
            return number
    return TRIES + 1


def _p99(place: Place) -> float:
    connection = http.client.HTTPConnection("localhost", place.port, timeout=60)
    times = []
    for _ in range(LEGITIMATE):
        began = time.perf_counter()
        reply = send(connection, "GET", f"/api/channels/{CHANNEL}", None, place.key)
        assert reply.status == 200, reply
        times.append(time.perf_counter() - began)
    connection.close()
    return sorted(times)[int(LEGITIMATE * 0.99) - 1]
