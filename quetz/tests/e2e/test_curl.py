"""A script with nothing but curl, as users have them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("curl_script.sh")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_a_script_with_curl_runs_to_its_end(server, deployed, pack, tmp_path):
    package = pack("curled", "1.5")
    variables = {
        "URL": server.url,
        "KEY": deployed.api_key,
        "CHANNEL": "curled",
        "PACKAGE": str(package),
        "SUBDIR": "noarch",
        "NAME": "curled",
        "VERSION": "1.5",
    }

    done = subprocess.run(
        ["sh", str(SCRIPT)],
        env={**os.environ, **variables},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
