"""The page on backups, with its commands as they stand there."""

import re
import subprocess
import sys
from pathlib import Path

from quetz_client import QuetzClient

from quetz.testing.crashes import create_deployment
from quetz.testing.packages import build_package
from quetz.testing.servers import running_server
from quetz.tests.architecture.sources import ROOT
from quetz.tests.e2e.channels import Channel


def script() -> str:
    page = (ROOT / "docs" / "backups.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).splitlines()
    return "\n".join(line for line in lines if not line.startswith("quetz start"))


def test_a_stranger_who_follows_the_page_has_the_packages_on_another_machine(tmp_path):
    key = create_deployment(tmp_path / "deployment_dir")
    (tmp_path / "noarch").mkdir()
    package = build_package(tmp_path / "noarch")
    with running_server(tmp_path / "deployment_dir") as server:
        client = QuetzClient.from_token(server.url, key)
        client.set_channel("forge")
        Channel("forge", server.url, client).publish(package)
        commands = f"PATH={Path(sys.executable).parent}:$PATH; {script()}"
        subprocess.run(["sh", "-eu", "-c", commands], cwd=tmp_path, check=True)

    with running_server(tmp_path / "restored_dir") as server:
        restored = Channel("forge", server.url, QuetzClient.from_token(server.url, key))
        restored.wait_for(package)
        assert restored.fetch(f"{restored.url}/noarch/{package.name}") == package.read_bytes()
