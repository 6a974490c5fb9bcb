"""Many clients at once, on a real server."""

from concurrent.futures import ThreadPoolExecutor

from quetz.testing.crashes import Driver, create_deployment
from quetz.testing.servers import running_server

CLIENTS = 80


def test_more_writers_than_threads_are_all_served(tmp_path):
    deployment = tmp_path / "deployment"
    driver = Driver(deployment, create_deployment(deployment), tmp_path)

    with running_server(deployment) as server, ThreadPoolExecutor(CLIENTS) as crowd:
        driver.url = server.url
        statuses = list(crowd.map(lambda n: driver.make_channel(f"c{n}"), range(2 * CLIENTS)))

    assert statuses == [201] * (2 * CLIENTS)
