"""What a search shows is what the permission matrix says."""

import pytest

from quetz.services.searches import search_channels, search_packages
from quetz.tests.services.permission_matrix import ALLOWED, CREDENTIALS, EXPECTED, World


@pytest.mark.parametrize("name", EXPECTED)
def test_a_search_shows_what_the_matrix_says(session, name):
    world = World(session)
    principal = CREDENTIALS[name](world).principal(session)

    packages = {channel for _, channel in search_packages(session, principal, "pkg")}
    channels = {channel.name for channel in search_channels(session, principal, "")}

    for visibility, channel in world.channels.items():
        expected = EXPECTED[name]
        in_packages = expected["search.packages", visibility] == ALLOWED
        in_channels = expected["search.channels", visibility] == ALLOWED
        assert (channel.name in packages) == in_packages
        assert (channel.name in channels) == in_channels
