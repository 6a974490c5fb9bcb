"""quetz-client, by its methods and by its command line."""

import pytest
import requests
from quetz_client.client import ChannelMember, Package

from quetz.testing.clients import run_quetz_client

pytestmark = pytest.mark.usefixtures("server")


def names_of_channels(client):
    return [channel.name for channel in client.yield_channels()]


def test_a_channel_is_made_listed_and_deleted(alice):
    alice.set_channel("Made-By-Client", private=False, description="Grüße")

    [made] = alice.yield_channels("made-by-client")
    alice.delete_channel("made-by-client")

    assert made.name == "made-by-client"
    assert made.description == "Grüße"
    assert made.private is False
    assert made.members_count == 1
    assert made.packages_count == 0
    assert "made-by-client" not in names_of_channels(alice)


def test_a_taken_name_is_a_conflict(alice, channel):
    with pytest.raises(requests.HTTPError, match="409"):
        alice.set_channel(channel.name)


def test_channels_are_listed_page_by_page(alice, make_channel):
    made = {make_channel().name for _ in range(5)}

    listed = [channel.name for channel in alice.yield_channels(limit=2)]

    assert made <= set(listed)
    assert len(listed) == len(set(listed))


def test_uploaded_packages_are_listed(alice, channel, pack):
    for package in [pack("app", "9.0"), pack("app", "1!0.5"), pack("zlib", subdir="linux-64")]:
        alice.post_file_to_channel(channel.name, package)

    packages = list(alice.yield_packages(channel.name))

    assert all(isinstance(package, Package) for package in packages)
    assert {package.name: package.current_version for package in packages} == {
        "app": "1!0.5",
        "zlib": "1.0",
    }
    assert {package.name: package.platforms for package in packages} == {
        "app": ["noarch"],
        "zlib": ["linux-64"],
    }
    assert [package.name for package in alice.yield_packages(channel.name, "zli")] == ["zlib"]


def test_force_replaces_a_file(alice, channel, pack):
    channel.publish(pack("app"))
    changed = pack("app", license="another")

    with pytest.raises(requests.HTTPError, match="409"):
        alice.post_file_to_channel(channel.name, changed)
    alice.post_file_to_channel(channel.name, changed, force=True)

    channel.wait_for(changed)


def test_members_come_and_go(alice, channel):
    alice.set_channel_member("bob", "member", channel.name)
    alice.set_channel_member("bob", "maintainer", channel.name)
    with_bob = list(alice.yield_channel_members(channel.name))
    alice.delete_channel_member("bob", channel.name)

    assert all(isinstance(member, ChannelMember) for member in with_bob)
    assert {member.user.username: member.role for member in with_bob} == {
        "alice": "owner",
        "bob": "maintainer",
    }
    left = [member.user.username for member in alice.yield_channel_members(channel.name)]
    assert left == ["alice"]


def test_the_command_line_uploads_and_lists(alice, channel, pack, deployed, home):
    package = pack("app")

    run_quetz_client(
        home, alice.url, deployed.api_key, "post_file_to_channel", channel.name, str(package)
    )
    output = run_quetz_client(home, alice.url, deployed.api_key, "yield_packages", channel.name)

    assert "app" in output
    channel.wait_for(package)
