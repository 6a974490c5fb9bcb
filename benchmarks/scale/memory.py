"""What a server with one worker keeps in memory that holds an index of 500,000 records."""

from collections.abc import Iterator
from contextlib import closing

from benchmarks.client import connected
from benchmarks.figures import Figure
from benchmarks.scale.bench import Bench, mark_everything
from benchmarks.servers import wait_until_published
from quetz.deployment import Deployment

RECORDS = 500_000
UPLOADS = 20


def measure(bench: Bench) -> Iterator[Figure]:
    """Look after a build of all indexes from nothing, and uploads that are published apart."""
    channel = bench.channel(RECORDS)
    with bench.server() as server:
        with (
            closing(Deployment.open(bench.deployment)) as deployment,
            deployment.transaction(write=True) as session,
        ):
            mark_everything(session, channel.id)
        wait_until_published(bench.deployment)
        for name in list(channel.sizes)[: bench.scaled(UPLOADS, 5)]:
            with connected(server.port) as connection:
                bench.upload(connection, channel, bench.pack(name))
            wait_until_published(bench.deployment)
        megabytes = [size / 1e6 for size in server.session.anonymous_bytes()]
    each = " + ".join(f"{size:.0f}" for size in megabytes)
    basis = f"PSS without files, {each} MB of its processes; {bench.scaled(UPLOADS, 5)} uploads"
    yield Figure(f"memory of a server with {channel}", [sum(megabytes)], "MB", 300, basis)
