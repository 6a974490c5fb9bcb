"""A channel of a server that runs, for tests that upload to it."""

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

from quetz_client import QuetzClient

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
        missing = {(package.parent.name, package.name): sha256(package) for package in packages}
        deadline = time.monotonic() + LISTED_SECONDS
        while missing:
            assert time.monotonic() < deadline, f"never listed: {sorted(missing)}"
            time.sleep(0.01)
            listed = self._listed({subdir for subdir, _ in missing})
            missing = dict(missing.items() - listed.items())

    def _listed(self, subdirs: set[str]) -> dict[tuple[str, str], str]:
        """Return the hash of each file, from the form that is published last."""
        listed = {}
        for subdir in subdirs:
            answer = self.owner.session.get(f"{self.url}/{subdir}/repodata.json")
            answer.raise_for_status()
            for form in ("packages", "packages.conda"):
                for filename, record in answer.json()[form].items():
                    listed[subdir, filename] = record["sha256"]
        return listed


def sha256(package: Path) -> str:
    return hashlib.sha256(package.read_bytes()).hexdigest()
