"""What a server publishes, read over HTTP by the rules of the strictest client."""

import hashlib
import itertools

import pytest

from quetz.testing.shard_reader import read_all, read_index
from quetz.tests.e2e.channels import sha256

pytestmark = pytest.mark.usefixtures("server")

SUBDIRS = ["noarch", "linux-64", "linux-aarch64", "osx-arm64", "win-64"]


@pytest.fixture(scope="module")
def forge(make_channel, pack):
    """Fill a channel with both formats on every platform."""
    channel = make_channel()
    exports = {"weak": ["lib >=1"], "noarch": ["lib"]}
    packages = []
    for subdir, suffix in itertools.product(SUBDIRS, (".conda", ".tar.bz2")):
        packages += [
            pack("app", "1!0.5", subdir=subdir, suffix=suffix, license="Größe 许可 🐍"),
            pack("lib", "1.0", subdir=subdir, suffix=suffix, run_exports=exports),
            pack("_lib.mutex-x", "9", subdir=subdir, suffix=suffix, constrains=["lib <2"]),
        ]
    channel.publish(*packages)
    return channel


@pytest.mark.parametrize("subdir", [*SUBDIRS, "linux-riscv64"])
def test_every_subdir_of_a_new_channel_is_an_empty_index(channel, subdir):
    index = read_index(channel.fetch, f"{channel.url}/{subdir}")

    assert index.subdir == subdir
    assert index.shards == {}


@pytest.mark.parametrize("subdir", SUBDIRS)
def test_the_shards_say_what_the_other_forms_say(forge, alice, subdir):
    records = read_all(forge.fetch, f"{forge.url}/{subdir}")
    repodata = alice.session.get(f"{forge.url}/{subdir}/repodata.json").json()
    run_exports = alice.session.get(f"{forge.url}/{subdir}/run_exports.json").json()

    assert len(records) == 6
    exported = {
        filename: {"run_exports": record.pop("run_exports")} for filename, record in records.items()
    }
    for record in records.values():
        record.update(md5=record["md5"].hex(), sha256=record["sha256"].hex())
    assert records == repodata["packages"] | repodata["packages.conda"]
    assert exported == run_exports["packages"] | run_exports["packages.conda"]


def test_the_packages_are_where_the_index_says(forge):
    index = read_index(forge.fetch, f"{forge.url}/linux-64")

    for filename, record in read_all(forge.fetch, f"{forge.url}/linux-64").items():
        package = forge.fetch(index.package_url(filename))
        assert hashlib.sha256(package).digest() == record["sha256"]
        assert hashlib.md5(package).digest() == record["md5"]
        assert len(package) == record["size"]


def test_a_replaced_file_is_replaced_in_its_shard(forge, alice, pack):
    before = read_index(forge.fetch, f"{forge.url}/noarch")
    changed = pack("lib", "1.0", license="another")

    alice.post_file_to_channel(forge.name, changed, force=True)
    forge.wait_for(changed)

    after = read_index(forge.fetch, f"{forge.url}/noarch")
    assert {name for name in after.shards if after.shards[name] != before.shards[name]} == {"lib"}
    record = read_all(forge.fetch, f"{forge.url}/noarch")["lib-1.0-0.conda"]
    assert record["sha256"].hex() == sha256(changed)
