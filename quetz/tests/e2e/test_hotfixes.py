"""A channel corrects its records by a package of hotfixes, and clients solve by the corrected ones.

The package goes the way of every other: uploaded, yanked, deleted.
"""

import json
import time

import pytest

from quetz.testing.clients import (
    ClientFailed,
    build_with_rattler_build,
    solve_with_rattler,
    upload_with_rattler_build,
)
from quetz.testing.shard_reader import read_all
from quetz.tests.architecture.sources import ROOT
from quetz.tests.e2e.channels import LISTED_SECONDS

pytestmark = pytest.mark.usefixtures("server")

APP, LATER = "app-1.0-0.conda", "app-2.0-0.conda"


@pytest.fixture
def hotfix(channel, alice, pack):
    """Return a function that uploads hotfixes of noarch, and waits until indexes show them."""

    def upload(version, fixes, **more):
        document = {"patch_instructions_version": 2, "packages.conda": fixes} | more
        files = {"noarch/patch_instructions.json": json.dumps(document).encode()}
        package = pack(f"{channel.name}-repodata-patches", version, more_files=files)
        answer = alice.session.post(
            f"{alice.url}/api/channels/{channel.name}/upload/{package.name}",
            params={"wait_for_index": 20},
            data=package.read_bytes(),
        )
        assert answer.headers.get("quetz-index") == "published", answer.text
        return package

    return upload


def read(channel, form, filename):
    document = json.loads(channel.fetch(f"{channel.url}/noarch/{form}"))
    return document["packages.conda"].get(filename)


def depends(channel, filename):
    """Return what a file depends on by both families of forms; None where it is not offered."""
    shards = read_all(channel.fetch, f"{channel.url}/noarch")
    records = [read(channel, "repodata.json", filename), shards.get(filename)]
    return [record and record["depends"] for record in records]


def wait_for(channel, filename, expected):
    deadline = time.monotonic() + LISTED_SECONDS
    while depends(channel, filename) != [expected, expected]:
        assert time.monotonic() < deadline, f"{filename} never came to depend on {expected}"
        time.sleep(0.02)


@pytest.mark.parametrize("form", ["shards", "zst", "json"])
def test_a_hotfix_changes_what_is_solved_until_it_is_taken_back(
    channel, alice, pack, home, hotfix, form
):
    base, app = pack("base-data"), pack("app", depends=["six"], run_exports={"weak": ["app"]})
    channel.publish(base, app)
    with pytest.raises(ClientFailed, match="six"):
        solve_with_rattler(home, channel.url, "app", form=form)

    fix = {"depends": ["base-data"], "run_exports": {"weak": ["app >=1"]}}
    hotfixes = hotfix("1.0", {APP: fix, LATER: {"depends": ["base-data >=1"]}})

    assert depends(channel, APP) == [["base-data"]] * 2
    assert set(solve_with_rattler(home, channel.url, "app", form=form)) == {"app", "base-data"}
    exports = read(channel, "run_exports.json", APP)["run_exports"]
    in_shard = read_all(channel.fetch, f"{channel.url}/noarch")[APP]["run_exports"]
    assert exports == in_shard == {"weak": ["app >=1"]}
    assert read(channel, "repodata_from_packages.json", APP)["depends"] == ["six"]

    channel.publish(pack("app", "2.0", depends=["six"]))

    assert depends(channel, LATER) == [["base-data >=1"]] * 2
    solved = solve_with_rattler(home, channel.url, "app", form=form)
    assert solved["app"]["version"] == "2.0"

    name = f"{channel.name}-repodata-patches"
    package = f"{alice.url}/api/channels/{channel.name}/packages/{name}/versions/noarch"
    alice.session.post(f"{package}/{hotfixes.name}/yank").raise_for_status()
    wait_for(channel, APP, ["six"])
    alice.session.post(f"{package}/{hotfixes.name}/restore").raise_for_status()
    wait_for(channel, APP, ["base-data"])
    alice.session.delete(f"{package}/{hotfixes.name}").raise_for_status()
    wait_for(channel, APP, ["six"])

    with pytest.raises(ClientFailed, match="six"):
        solve_with_rattler(home, channel.url, "app", form=form)


def test_the_package_of_the_documentation_does_what_it_says(channel, alice, deployed, pack, home):
    apps = [pack("app", version) for version in ("1.0", "0.9", "0.8")]
    channel.publish(*apps)
    page = (ROOT / "docs/hotfixes.md").read_text(encoding="utf-8")
    recipe = page.split("```yaml\n")[1].split("```")[0].replace("forge", channel.name)

    package = build_with_rattler_build(home, recipe)
    upload_with_rattler_build(
        home, channel.server_url, channel.name, [package], api_key=deployed.api_key
    )

    wait_for(channel, "app-1.0-0.conda", ["base-data >=1", "python"])
    wait_for(channel, "app-0.9-0.conda", ["package_has_been_revoked"])
    wait_for(channel, "app-0.8-0.conda", None)


def test_what_a_hotfix_revokes_or_removes_is_no_candidate_and_can_be_downloaded(
    channel, pack, home, hotfix
):
    app, later, latest = (pack("app", version) for version in ("1.0", "2.0", "3.0"))
    channel.publish(app, later, latest)

    hotfix("1.0", {}, revoke=[latest.name], remove=[later.name])

    assert depends(channel, latest.name) == [["package_has_been_revoked"]] * 2
    assert depends(channel, later.name) == [None] * 2
    assert solve_with_rattler(home, channel.url, "app")["app"]["version"] == "1.0"
    for package in (later, latest):
        assert channel.fetch(f"{channel.url}/noarch/{package.name}") == package.read_bytes()
