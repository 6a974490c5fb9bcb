"""py-rattler-build builds against a channel, uploads to it, and py-rattler installs the result."""

import pytest

from quetz.testing.clients import (
    ClientFailed,
    build_with_rattler_build,
    solve_with_rattler,
    upload_with_rattler_build,
)
from quetz.testing.recording import recording_proxy
from quetz.tests.e2e.channels import sha256

pytestmark = pytest.mark.usefixtures("server")

RECIPE = """\
package:
  name: greeting
  version: "1!2.0"
build:
  number: 3
  noarch: generic
  script: mkdir -p $PREFIX/share && cp $PREFIX/share/libwidget.txt $PREFIX/share/greeting.txt
requirements:
  host:
    - libwidget
  run:
    - base-data
  run_constraints:
    - oldest <1
about:
  summary: Grüße
  license: BSD-3-Clause
"""


@pytest.fixture
def dependencies(pack):
    # For a noarch package only this kind of export counts.
    libwidget = pack("libwidget", "1.2", run_exports={"noarch": ["libwidget >=1.2,<2"]})
    return [libwidget, pack("base-data")]


def test_a_built_package_goes_up_and_comes_down_again(
    channel, dependencies, deployed, home, make_home, tmp_path
):
    channel.publish(*dependencies)

    package = build_with_rattler_build(home, RECIPE, channel.url)
    upload_with_rattler_build(
        home, channel.server_url, channel.name, [package], api_key=deployed.api_key
    )
    channel.wait_for(package)
    solved = solve_with_rattler(make_home(), channel.url, "greeting", prefix=tmp_path / "env")

    assert set(solved) == {"greeting", "libwidget", "base-data"}
    assert solved["greeting"]["version"] == "1!2.0"
    assert solved["greeting"]["constrains"] == ["oldest <1"]
    assert (tmp_path / "env/share/greeting.txt").read_text().startswith("libwidget")


@pytest.mark.parametrize("sharded", [True, False])
def test_what_a_dependency_exports_becomes_a_dependency(channel, dependencies, home, sharded):
    channel.publish(*dependencies)
    with recording_proxy(channel.url) as proxy:
        package = build_with_rattler_build(home, RECIPE, proxy.url, sharded=sharded)
        asked = {exchange.path.rsplit("/", 1)[-1] for exchange in proxy.take()}
    channel.publish(package)

    record = solve_with_rattler(home, channel.url, "greeting")["greeting"]

    assert "libwidget >=1.2,<2" in record["depends"]
    # CEP 21: a shard says what its packages export, so that no other file is asked for.
    assert ("run_exports.json.zst" in asked) is not sharded
    assert "run_exports.json" not in asked


def test_the_key_is_found_among_the_stored_credentials(channel, pack, deployed, home):
    package = pack("app")
    home.store_credentials({"CondaToken": deployed.api_key})

    upload_with_rattler_build(home, channel.server_url, channel.name, [package], api_key=None)

    channel.wait_for(package)


def test_packages_for_several_platforms_go_up_in_one_run(channel, pack, deployed, home):
    packages = [pack("app", subdir=subdir) for subdir in ("linux-64", "osx-arm64", "win-64")]

    upload_with_rattler_build(
        home, channel.server_url, channel.name, packages, api_key=deployed.api_key
    )

    channel.wait_for(*packages)


def test_the_same_bytes_may_go_up_twice_and_other_bytes_may_not(channel, pack, deployed, home):
    package = pack("app")
    channel.publish(package)

    upload_with_rattler_build(
        home, channel.server_url, channel.name, [package], api_key=deployed.api_key
    )
    changed = pack("app", license="another")
    with pytest.raises(ClientFailed, match="Server responded with error"):
        upload_with_rattler_build(
            home, channel.server_url, channel.name, [changed], api_key=deployed.api_key
        )

    assert solve_with_rattler(home, channel.url, "app")["app"]["sha256"] == sha256(package)


def test_who_may_not_upload_changes_nothing(channel, pack, stranger_key, home):
    with pytest.raises(ClientFailed, match="Server responded with error"):
        upload_with_rattler_build(
            home, channel.server_url, channel.name, [pack("app")], api_key=stranger_key
        )

    assert list(channel.owner.yield_packages(channel.name)) == []
