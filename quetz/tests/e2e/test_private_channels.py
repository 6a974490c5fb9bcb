"""Private channels: each way in which a client brings its key, and those who have none."""

from urllib.parse import urlsplit

import pytest

from quetz.testing.clients import ClientFailed, create_with_conda, solve_with_rattler

pytestmark = pytest.mark.usefixtures("server")

CREDENTIALS = {
    "bearer": lambda key: {"BearerToken": key},
    "basic": lambda key: {"BasicHTTP": {"username": "whoever", "password": key}},
    "token": lambda key: {"CondaToken": key},
}


def with_password(url, key):
    parts = urlsplit(url)
    return parts._replace(netloc=f"whoever:{key}@{parts.netloc}").geturl()


def with_token(url, key):
    return url.replace("/get/", f"/t/{key}/get/")


@pytest.mark.parametrize("form", ["shards", "zst", "json"])
@pytest.mark.parametrize("way", CREDENTIALS)
def test_rattler_installs_with_stored_credentials(
    private_channel, reader_key, pack, home, tmp_path, way, form
):
    private_channel.publish(pack("app", depends=["base-data"]), pack("base-data"))
    home.store_credentials(CREDENTIALS[way](reader_key))

    solve_with_rattler(home, private_channel.url, "app", form=form, prefix=tmp_path / "env")

    assert (tmp_path / "env/share/app.txt").exists()


@pytest.mark.parametrize("address", [with_password, with_token])
@pytest.mark.parametrize("client", ["rattler", "conda"])
def test_a_key_in_the_address_opens_the_channel(
    private_channel, reader_key, pack, home, tmp_path, client, address
):
    private_channel.publish(pack("app", depends=["base-data"]), pack("base-data"))
    url = address(private_channel.url, reader_key)

    if client == "rattler":
        solve_with_rattler(home, url, "app", prefix=tmp_path / "env")
    else:
        create_with_conda(home, tmp_path / "env", url, "app")

    assert (tmp_path / "env/share/app.txt").exists()


@pytest.mark.parametrize("way", CREDENTIALS)
def test_a_stranger_is_told_that_there_is_no_such_channel(
    private_channel, stranger_key, pack, home, way
):
    private_channel.publish(pack("app"))
    home.store_credentials(CREDENTIALS[way](stranger_key))

    with pytest.raises(ClientFailed) as refused:
        solve_with_rattler(home, private_channel.url, "app")

    assert "404" in refused.value.output


def test_without_a_key_rattler_is_asked_to_log_in(private_channel, pack, home):
    private_channel.publish(pack("app"))

    with pytest.raises(ClientFailed) as refused:
        solve_with_rattler(home, private_channel.url, "app")

    assert "401" in refused.value.output


def test_without_a_key_conda_is_refused(private_channel, pack, home, tmp_path):
    private_channel.publish(pack("app"))

    with pytest.raises(ClientFailed) as refused:
        create_with_conda(home, tmp_path / "env", private_channel.url, "app")

    assert "HTTP 401" in refused.value.output
