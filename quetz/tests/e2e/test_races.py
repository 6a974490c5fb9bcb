"""Clients that want the same files at once are all told one story."""

from quetz.testing.histories import Kind, check
from quetz.testing.racing import race


def test_some_order_explains_what_racing_clients_are_told(channel, deployed):
    history = race(channel.server_url, deployed.api_key, channel.name, clients=6, seconds=2)

    assert check(history) == []
    assert {call.kind for call in history.calls} >= {Kind.UPLOAD, Kind.DELETE, Kind.READ}
    assert history.reads
