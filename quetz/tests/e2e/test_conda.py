"""conda 24.7 makes environments from a server at the root of its host, and below a path."""

import dataclasses

import pytest

from quetz.testing.clients import create_with_conda, solve_with_rattler
from quetz.testing.recording import recording_proxy

pytestmark = pytest.mark.usefixtures("server")


@pytest.fixture(params=["at the root", "below a path"])
def anywhere(request, channel):
    """A channel, by the address of one of two servers on the same deployment."""
    if request.param == "at the root":
        return channel
    below = request.getfixturevalue("running_below_a_path")
    return dataclasses.replace(channel, server_url=below.url)


@pytest.mark.parametrize("zst", [True, False])
def test_conda_makes_an_environment(anywhere, pack, home, tmp_path, zst):
    anywhere.publish(
        pack("base-data", suffix=".tar.bz2"),
        pack("app", "9.0", subdir="linux-64"),
        pack("app", "1!0.5", subdir="linux-64", depends=["base-data"]),
    )

    linked = create_with_conda(home, tmp_path / "env", anywhere.url, "app", zst=zst)

    assert [package["dist_name"] for package in linked] == ["base-data-1.0-0", "app-1!0.5-0"]
    assert {package["base_url"] for package in linked} == {anywhere.url}
    assert (tmp_path / "env/share/app.txt").read_text() == "app ('1!0.5',) for linux-64"


def test_a_token_in_the_address_works_anywhere(
    running_below_a_path, private_channel, reader_key, pack, home, tmp_path
):
    private_channel.publish(pack("app"))
    url = f"{running_below_a_path.url}/t/{reader_key}/get/{private_channel.name}"

    create_with_conda(home, tmp_path / "with-conda", url, "app")
    solve_with_rattler(home, url, "app", prefix=tmp_path / "with-rattler")

    assert (tmp_path / "with-conda/share/app.txt").exists()
    assert (tmp_path / "with-rattler/share/app.txt").exists()


def test_a_token_in_front_of_the_path_works_too(
    running_below_a_path, private_channel, reader_key, pack, home, tmp_path
):
    private_channel.publish(pack("app"))
    home.store_credentials({"CondaToken": reader_key})
    url = f"{running_below_a_path.url}/get/{private_channel.name}"

    solve_with_rattler(home, url, "app", prefix=tmp_path / "env")

    assert (tmp_path / "env/share/app.txt").exists()


@pytest.mark.parametrize("zst", [True, False])
def test_a_second_run_transfers_no_index_again(channel, pack, home, tmp_path, zst):
    channel.publish(pack("base-data"), pack("app", subdir="linux-64", depends=["base-data"]))
    with recording_proxy(channel.url) as proxy:
        create_with_conda(home, tmp_path / "cold", proxy.url, "app", zst=zst)
        proxy.take()

        create_with_conda(home, tmp_path / "warm", proxy.url, "app", zst=zst)

        found = [exchange for exchange in proxy.take() if exchange.status != 404]
    assert {exchange.status for exchange in found} == {304}
    assert sorted(exchange.path.split("/")[-2] for exchange in found) == ["linux-64", "noarch"]
    assert (tmp_path / "warm/share/app.txt").exists()


@pytest.mark.parametrize("zst", [True, False])
def test_conda_does_not_install_what_was_yanked(channel, alice, pack, home, tmp_path, zst):
    old, new = pack("app", "1.0"), pack("app", "2.0")
    channel.publish(old, new)
    versions = f"{alice.url}/api/channels/{channel.name}/packages/app/versions"
    alice.session.post(f"{versions}/noarch/{new.name}/yank").raise_for_status()
    channel.wait_until_gone(new)

    linked = create_with_conda(home, tmp_path / "env", channel.url, "app", zst=zst)

    assert [package["dist_name"] for package in linked] == ["app-1.0-0"]
