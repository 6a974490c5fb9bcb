"""A channel of a server that runs, for tests that upload to it."""

import hashlib
import json
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
        for package in packages:
            self._wait_for_hash(package, sha256(package))

    def wait_until_gone(self, package: Path) -> None:
        self._wait_for_hash(package, None)

    def _wait_for_hash(self, package: Path, digest: str | None) -> None:
        deadline = time.monotonic() + LISTED_SECONDS
        while self._listed_hashes(package) != {digest}:
            assert time.monotonic() < deadline, f"{package} never came to {digest}"
            time.sleep(0.02)

    def _listed_hashes(self, package: Path) -> set[str | None]:
        """Look into both families of forms: they are published apart, in either order."""
        subdir = f"{self.url}/{package.parent.name}"
        repodata = json.loads(self.fetch(f"{subdir}/repodata.json"))
        in_repodata = (repodata["packages"] | repodata["packages.conda"]).get(package.name)
        in_shards = read_all(self.fetch, subdir).get(package.name)
        return {
            in_repodata and in_repodata["sha256"],
            in_shards and in_shards["sha256"].hex(),
        }

    def fetch(self, url: str) -> bytes:
        answer = self.owner.session.get(url)
        answer.raise_for_status()
        return answer.content


def sha256(package: Path) -> str:
    return hashlib.sha256(package.read_bytes()).hexdigest()
