"""py-rattler fetches, solves and installs from a real server."""

import json
import random
import time

import pytest

from quetz.testing.clients import ClientFailed, peek_with_rattler, solve_with_rattler
from quetz.testing.recording import recording_proxy
from quetz.tests.e2e.channels import sha256

pytestmark = pytest.mark.usefixtures("server")

PLATFORMS = ["linux-64", "linux-aarch64", "osx-arm64", "win-64"]


@pytest.mark.parametrize("form", ["shards", "zst", "json"])
def test_every_form_of_the_index_leads_to_the_same_packages(channel, pack, home, form):
    base = pack("base-data", "1.0", suffix=".tar.bz2")
    app = pack("app", "2.0", subdir="linux-64", depends=["base-data >=1.0"])
    channel.publish(base, app)

    solved = solve_with_rattler(home, channel.url, "app", form=form)

    assert {name: record["sha256"] for name, record in solved.items()} == {
        "app": sha256(app),
        "base-data": sha256(base),
    }
    assert solved["app"]["url"] == f"{channel.url}/linux-64/app-2.0-0.conda"


@pytest.mark.parametrize("suffix", [".conda", ".tar.bz2"])
@pytest.mark.parametrize("platform", PLATFORMS)
def test_what_was_packed_is_installed(channel, pack, home, tmp_path, platform, suffix):
    channel.publish(
        pack("base-data", suffix=suffix),
        pack("app", subdir=platform, suffix=suffix, depends=["base-data"]),
    )

    solve_with_rattler(home, channel.url, "app", platform=platform, prefix=tmp_path / "env")

    installed = {file.name: file.read_text() for file in (tmp_path / "env/share").iterdir()}
    assert installed == {
        "app.txt": f"app () for {platform}",
        "base-data.txt": "base-data () for noarch",
    }


def test_an_epoch_outranks_every_version_without_one(channel, pack, home, tmp_path):
    channel.publish(pack("app", "9.0"), pack("app", "1!0.5"), pack("app", "10.0rc1"))

    solved = solve_with_rattler(home, channel.url, "app", prefix=tmp_path / "env")

    assert solved["app"]["version"] == "1!0.5"
    assert (tmp_path / "env/share/app.txt").read_text() == "app ('1!0.5',) for noarch"


def test_the_highest_build_number_of_a_version_is_taken(channel, pack, home):
    channel.publish(*(pack("app", "1.0", f"h_{n}", build_number=n) for n in (0, 10, 9)))

    solved = solve_with_rattler(home, channel.url, "app")

    assert solved["app"]["build"] == "h_10"


@pytest.mark.parametrize("form", ["shards", "zst", "json"])
def test_unicode_and_rare_fields_reach_the_client_as_packed(channel, pack, home, form):
    channel.publish(
        pack(
            "app",
            license="Lizenz für Größen — 许可 🐍",
            track_features="ä ö",
            python_site_packages_path="lib/python3.14t/site-packages",
            about={"summary": "Grüße"},
        )
    )

    record = solve_with_rattler(home, channel.url, "app", form=form)["app"]

    assert record["license"] == "Lizenz für Größen — 许可 🐍"
    assert record["track_features"] in ("ä ö", ["ä", "ö"])
    assert record["python_site_packages_path"] == "lib/python3.14t/site-packages"


def test_constrains_hold_back_a_package(channel, pack, home):
    channel.publish(
        pack("base-data", "1.0"), pack("base-data", "2.0"), pack("app", constrains=["base-data <2"])
    )

    solved = solve_with_rattler(home, channel.url, "app", "base-data")

    assert solved["base-data"]["version"] == "1.0"


def test_an_empty_channel_answers_that_it_has_no_candidate(channel, home):
    with pytest.raises(ClientFailed, match="No candidates were found for app"):
        solve_with_rattler(home, channel.url, "app", platform="linux-riscv64")


def test_a_client_that_saw_an_empty_channel_sees_what_is_published_later(channel, pack, home):
    with pytest.raises(ClientFailed, match="No candidates"):
        solve_with_rattler(home, channel.url, "app")

    channel.publish(pack("app", subdir="linux-64"))

    assert "app" in solve_with_rattler(home, channel.url, "app")


@pytest.mark.parametrize("form", ["shards", "zst", "json"])
def test_a_second_run_transfers_no_index_again(channel, pack, home, form):
    channel.publish(pack("base-data"), pack("app", subdir="linux-64", depends=["base-data"]))
    with recording_proxy(channel.url) as proxy:
        cold = solve_with_rattler(home, proxy.url, "app", form=form)
        proxy.take()

        warm = solve_with_rattler(home, proxy.url, "app", form=form)

        gets = [exchange for exchange in proxy.take() if exchange.method == "GET"]
    assert warm == cold
    assert sorted(exchange.path.split("/")[-2] for exchange in gets) == ["linux-64", "noarch"]
    assert {exchange.status for exchange in gets} == {304}
    assert all("if-none-match" in exchange.headers for exchange in gets)


def test_a_change_makes_a_second_run_fetch_only_what_changed(channel, pack, home):
    channel.publish(pack("base-data"), pack("app", subdir="linux-64", depends=["base-data"]))
    with recording_proxy(channel.url) as proxy:
        solve_with_rattler(home, proxy.url, "app")
        proxy.take()
        channel.publish(pack("app", "2.0", subdir="linux-64", depends=["base-data"]))

        solved = solve_with_rattler(home, proxy.url, "app")

        answers = {exchange.path.split("/", 3)[-1]: exchange.status for exchange in proxy.take()}
    assert solved["app"]["version"] == "2.0"
    assert answers.pop("linux-64/repodata_shards.msgpack.zst") == 200
    assert answers.pop("noarch/repodata_shards.msgpack.zst") == 304
    [shard] = answers
    assert shard.startswith("linux-64/shards/")


@pytest.mark.parametrize("form", ["shards", "zst", "json"])
def test_what_was_indexed_after_a_moment_can_be_left_out(channel, pack, home, form):
    channel.publish(pack("app", "1.0"))
    between = time.time()
    channel.publish(pack("app", "2.0"))

    before = solve_with_rattler(home, channel.url, "app", form=form, indexed_before=between)
    now = solve_with_rattler(home, channel.url, "app", form=form)

    assert before["app"]["version"] == "1.0"
    assert now["app"]["version"] == "2.0"


def test_a_deleted_file_is_no_candidate_any_more(channel, alice, pack, home):
    old, new = pack("app", "1.0"), pack("app", "2.0")
    channel.publish(old, new)
    assert solve_with_rattler(home, channel.url, "app")["app"]["version"] == "2.0"

    answer = alice.session.delete(
        f"{alice.url}/api/channels/{channel.name}/packages/app/versions/noarch/{new.name}"
    )
    answer.raise_for_status()
    channel.wait_until_gone(new)

    assert solve_with_rattler(home, channel.url, "app")["app"]["version"] == "1.0"


def test_a_replaced_file_is_fetched_again(channel, alice, pack, home, tmp_path):
    channel.publish(pack("app"))
    solve_with_rattler(home, channel.url, "app", prefix=tmp_path / "before")
    changed = pack("app", license="another")
    alice.post_file_to_channel(channel.name, changed, force=True)
    channel.wait_for(changed)

    solve_with_rattler(home, channel.url, "app", prefix=tmp_path / "after")

    installed = json.loads((tmp_path / "after/conda-meta/app-1.0-0.json").read_text())
    assert installed["sha256"] == sha256(changed)
    assert installed["license"] == "another"


def test_the_metadata_of_a_large_package_is_read_by_ranges(channel, pack, home):
    large = pack("app", more_files={"share/noise": random.Random(1).randbytes(1_000_000)})
    channel.publish(large)
    with recording_proxy(channel.url) as proxy:
        how, index = peek_with_rattler(home, f"{proxy.url}/noarch/{large.name}", "info/index.json")

        exchanges = proxy.take()
    assert how == "sparse"
    assert json.loads(index)["name"] == "app"
    assert {exchange.status for exchange in exchanges} == {206}
    sent = sum(int(exchange.answer_headers["content-length"]) for exchange in exchanges)
    assert sent < 200_000


@pytest.mark.parametrize("form", ["shards", "zst", "json"])
def test_a_yanked_file_is_no_candidate_until_it_is_restored(channel, alice, pack, home, form):
    old, new = pack("app", "1.0"), pack("app", "2.0")
    channel.publish(old, new)
    versions = f"{alice.url}/api/channels/{channel.name}/packages/app/versions"

    for package in (new, old):
        alice.session.post(f"{versions}/noarch/{package.name}/yank").raise_for_status()
        channel.wait_until_gone(package)
        if package is new:
            assert (
                solve_with_rattler(home, channel.url, "app", form=form)["app"]["version"] == "1.0"
            )

    with pytest.raises(ClientFailed, match="No candidates"):
        solve_with_rattler(home, channel.url, "app", form=form)
    assert channel.fetch(f"{channel.url}/noarch/{new.name}") == new.read_bytes()
    alice.session.post(f"{versions}/noarch/{new.name}/restore").raise_for_status()
    channel.wait_for(new)
    assert solve_with_rattler(home, channel.url, "app", form=form)["app"]["version"] == "2.0"
