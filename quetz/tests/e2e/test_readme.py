"""The README's five minutes, as they stand there."""

import re
import shlex
import shutil
import sys
from pathlib import Path
from string import Template

import pytest

import quetz
from quetz.testing.clients import create_with_conda
from quetz.tests.e2e.channels import Channel

README = Path(quetz.__file__).parent.parent / "README.md"


def blocks() -> list[str]:
    """Return the commands of the tour, one text a block."""
    tour = README.read_text(encoding="utf-8").split("\n## ")[1]
    assert tour.startswith("Five minutes")
    return re.findall(r"^```sh\n(.*?)^```", tour, re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_tour_ends_with_packages_that_conda_has_installed(server, deployed, alice, home):
    variables = {"QUETZ_SERVER_URL": server.url, "QUETZ_API_KEY": deployed.api_key}
    tools, *steps = blocks()
    assert "pip install quetz-client py-rattler-build" in tools  # which this environment has
    (home.folder / "tools").symlink_to(sys.prefix)
    installs = [step for step in steps if step.startswith("conda create")]
    script = "".join(steps[: steps.index(installs[0])])

    home.run(["sh", "-eu", "-c", script], variables=variables)
    for name in ("forge", "secrets"):
        Channel(name, server.url, alice).wait_for(home.folder / "built/noarch/hello-1.0-0.conda")
    linked = [install(home, Template(step).substitute(variables)) for step in installs]

    assert linked == [["hello"], ["hello"]]  # from the public channel and the private one


def install(home, command: str) -> list[str]:
    words = shlex.split(command)
    place, channel = (words[words.index(option) + 1] for option in ("--prefix", "-c"))
    records = create_with_conda(home, home.folder / place, channel, words[-1])
    return [record["name"] for record in records]
