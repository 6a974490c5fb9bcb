"""Whole channels that are imported beside a running server, and exported from it."""

import subprocess
import sys

import pytest

from quetz.testing.clients import solve_with_rattler
from quetz.testing.packages import build_package
from quetz.tests.e2e.conftest import quetz
from quetz.worker.receiving import ENOUGH_FOR_PROCESSES

pytestmark = pytest.mark.usefixtures("server")


@pytest.fixture
def static(tmp_path):
    """A folder of as many packages as take processes, the last of which needs all others."""
    folder = tmp_path / "static" / "noarch"
    folder.mkdir(parents=True)
    for number in range(ENOUGH_FOR_PROCESSES):
        build_package(folder, f"part{number}", depends=[f"part{number - 1}"] if number else [])
    return folder.parent


def test_uploads_go_on_while_a_channel_is_imported(channel, static, deployed, pack, home):
    command = [sys.executable, "-m", "quetz", "import", static, "beside", deployed.path]
    uploaded = [pack("first", "1")]
    with subprocess.Popen([*map(str, command), "--create", "--public"]) as running:
        channel.publish(*uploaded)
        while running.poll() is None:
            uploaded.append(pack("more", str(len(uploaded))))
            channel.owner.post_file_to_channel(channel.name, uploaded[-1])

    assert running.returncode == 0
    channel.wait_for(*uploaded)
    imported = f"{channel.server_url}/get/beside"
    solved = solve_with_rattler(home, imported, f"part{ENOUGH_FOR_PROCESSES - 1}")
    assert len(solved) == ENOUGH_FOR_PROCESSES
    quetz("channel", "delete", "beside", str(deployed.path), "--yes")


def test_a_served_channel_is_exported_and_solved_from_its_folder(
    channel, pack, home, deployed, tmp_path
):
    channel.publish(pack("app", subdir="linux-64", depends=["base"]), pack("base"))

    quetz("export", channel.name, str(tmp_path / "out"), str(deployed.path))

    solved = solve_with_rattler(home, (tmp_path / "out").as_uri(), "app", form="zst")
    assert solved.keys() == {"app", "base"}
    assert solved["app"]["url"] == (tmp_path / "out/linux-64/app-1.0-0.conda").as_uri()
