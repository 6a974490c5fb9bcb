"""The API's lists and searches: what a server takes for one answer, and its query alone."""

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import update

from benchmarks.client import connected, get, hammer
from benchmarks.figures import Figure, ratio
from benchmarks.machine import CLIENT_CPU, pinned
from benchmarks.records import insert_channel
from benchmarks.servers import Running, create_deployment, quetz_server
from quetz.db.models import Package
from quetz.deployment import Deployment

RECORDS = 100_000
SECONDS = 1.0
"""How long a round asks for one thing: the kernel's clock of processor time ticks at 100 Hz."""
QUERIES = 50

_PAGE = """
SELECT * FROM packages WHERE id IN (SELECT id FROM packages WHERE channel_id = {channel} {order})
"""
_SEARCH = """
SELECT * FROM packages WHERE id IN (
  SELECT p.id FROM packages p JOIN channels c ON c.id = p.channel_id
  WHERE NOT c.private AND p.name LIKE '%{word}%' ORDER BY p.name, c.name LIMIT 50
)
"""


@dataclass(frozen=True)
class Question:
    """A request, and the query that finds the packages of its answer; ``goal`` in ms."""

    name: str
    path: str
    query: str
    goal: float

    def ask(self, database: sqlite3.Connection) -> None:
        """Read what the answer shows, and nothing more."""
        database.execute(self.query).fetchall()


def measure(folder: Path, rounds: int) -> list[Figure]:
    deployment = folder / "deployment"
    create_deployment(deployment)
    with (deployment / "config.toml").open("a") as config:
        config.write('[limits]\nsearches = "0"\n')
    questions = _questions(_fill(deployment))
    # Without the log of requests: its writing is measured with what serves indexes.
    with (
        quetz_server(deployment, "--log-level", "warning") as server,
        closing(sqlite3.connect(deployment / "quetz.sqlite")) as database,
        pinned(CLIENT_CPU),
    ):
        return [
            figure
            for question in questions
            for figure in _figures(question, server, database, rounds)
        ]


def _fill(path: Path) -> int:
    deployment = Deployment.open(path)
    with deployment.transaction(write=True) as session:
        channel, sizes = insert_channel(session, "forge", RECORDS)
        session.execute(
            update(Package).values(
                summary="What the package is for, in a sentence.",
                description="What it does, and how, in some more words. " * 10,
                latest_change=1_700_000_000_000 + Package.id * 7919 % 1_000_000,
            )
        )
    deployment.close()
    assert len(sizes) > 5000
    return channel


def _questions(channel: int) -> list[Question]:
    pages = "/api/paginated/channels/forge/packages"
    cursor = "/api/cursor/channels/forge/packages"
    first = _PAGE.format(channel=channel, order="ORDER BY name LIMIT 20")
    far = _PAGE.format(channel=channel, order="ORDER BY name LIMIT 20 OFFSET 5000")
    latest = _PAGE.format(channel=channel, order="ORDER BY latest_change DESC LIMIT 20")
    search = "/api/packages/search/?q="
    return [
        Question("20 packages, the first", pages, first, 2),
        Question("20 packages behind 5,000", f"{pages}?skip=5000", far, 2),
        Question("20 packages, the latest", f"{pages}?order_by=latest_change:desc", latest, 5),
        Question("20 packages by cursor", cursor, first, 2),
        Question("search, no hit", f"{search}nothing-at-all", _SEARCH.format(word="nothing"), 5),
        Question("search, 5,000 hits", f"{search}-", _SEARCH.format(word="-"), 5),
    ]


def _figures(
    question: Question, server: Running, database: sqlite3.Connection, rounds: int
) -> Sequence[Figure]:
    with connected(server.port) as connection:
        connection.ask(get(question.path)).expect(200)
    ours, bare = [], []
    for _ in range(rounds):
        ours.append(_cost(question, server))
        bare.append(_bare_cost(question, database))
    against = "its queries by sqlite3 alone"
    return [
        Figure(f"{question.name}: server CPU", ours, "ms", question.goal),
        ratio(f"{question.name}: to its queries", ours, bare, unit="ms", against=against),
    ]


def _cost(question: Question, server: Running) -> float:
    """Return the milliseconds of processor time that the server takes for an answer."""
    request = get(question.path)
    hammer(server.port, request, SECONDS / 10, status=200)
    before = server.session.cpu_seconds()
    count = hammer(server.port, request, SECONDS, status=200)
    return (server.session.cpu_seconds() - before) / count * 1e3


def _bare_cost(question: Question, database: sqlite3.Connection) -> float:
    question.ask(database)
    before = time.process_time()
    for _ in range(QUERIES):
        question.ask(database)
    return (time.process_time() - before) / QUERIES * 1e3
