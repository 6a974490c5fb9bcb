"""A channel of a server that runs, for tests that upload to it."""

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

from quetz_client import QuetzClient

from quetz.testing.shard_reader import read_all

LISTED_SECONDS = 30


@dataclass(frozen=True)
class Channel:
    """A channel of the server at ``server_url``, and its owner."""

    name: str
    server_url: str
    owner: QuetzClient

    @property
    def url(self) -> str:
        """Where clients read."""
        return f"{self.server_url}/get/{self.name}"

    def publish(self, *packages: Path) -> None:
        """Upload packages, and wait until the index lists them."""
        for package in packages:
            self.owner.post_file_to_channel(self.name, package)
        self.wait_for(*packages)

    def wait_for(self, *packages: Path) -> None:
        """Wait until each package is listed in the subdir that its folder is named after."""
        deadline = time.monotonic() + LISTED_SECONDS
        for package in packages:
            while not self._lists(package):
                assert time.monotonic() < deadline, f"never listed: {package}"
                time.sleep(0.02)

    def _lists(self, package: Path) -> bool:
        """Look into both families of forms: they are published apart, in either order."""
        subdir = f"{self.url}/{package.parent.name}"
        repodata = self.owner.session.get(f"{subdir}/repodata.json").json()
        listed = repodata["packages"] | repodata["packages.conda"]
        digest = sha256(package)
        if package.name not in listed or listed[package.name]["sha256"] != digest:
            return False
        in_shards = read_all(self.fetch, subdir)
        return package.name in in_shards and in_shards[package.name]["sha256"].hex() == digest

    def fetch(self, url: str) -> bytes:
        answer = self.owner.session.get(url)
        answer.raise_for_status()
        return answer.content


def sha256(package: Path) -> str:
    return hashlib.sha256(package.read_bytes()).hexdigest()
