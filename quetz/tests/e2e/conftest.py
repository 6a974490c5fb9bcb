"""A real server on each database, shared by the tests, which make channels of their own."""

import itertools
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from quetz_client import QuetzClient
from sqlalchemy import NullPool, create_engine, text

from quetz.testing.clients import ClientHome
from quetz.testing.databases import create_database, given_url
from quetz.testing.fixtures import FOLDER
from quetz.testing.packages import build_package
from quetz.testing.postgresql import server_url
from quetz.testing.servers import Server, running_server
from quetz.tests.e2e.channels import Channel

KEY = re.compile(r"qz-[A-Za-z0-9]{16}-[A-Za-z0-9]{30}")
_numbers = itertools.count()


def quetz(*arguments: str) -> str:
    """Run a command of quetz, and give what it wrote."""
    command = [sys.executable, "-m", "quetz", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def database(request) -> Iterator[str]:
    """Name an empty database; the server's schema is made by `quetz create`."""
    given = given_url()
    if given is not None and given.get_backend_name() != request.param:
        pytest.skip("QUETZ_TEST_DATABASE names another")
    if request.param == "sqlite":
        yield "sqlite:///quetz.sqlite"
        return
    server = given or server_url(request.config.stash[FOLDER])
    worker = getattr(request.config, "workerinput", {"workerid": "main"})["workerid"]
    url = create_database(server, f"{server.database}_e2e_{worker}")
    yield url.render_as_string(hide_password=False)
    engine = create_engine(server, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f'DROP DATABASE "{url.database}"'))


@dataclass(frozen=True)
class Deployed:
    """A deployment in development mode, and the API key of its owner, alice."""

    path: Path
    api_key: str


@pytest.fixture(scope="session")
def deployed(database, tmp_path_factory) -> Deployed:
    path = tmp_path_factory.mktemp("deployments") / "deployment"
    path.mkdir()
    (path / "config.toml").write_text(
        f'[general]\ndev = true\n\n[sqlalchemy]\ndatabase_url = "{database}"\n'
    )
    output = quetz("create", str(path), "--dev")
    [line] = [line for line in output.splitlines() if line.startswith("QUETZ_API_KEY=")]
    return Deployed(path, line.removeprefix("QUETZ_API_KEY="))


@pytest.fixture(scope="session")
def running(deployed) -> Iterator[Server]:
    with running_server(deployed.path) as server:
        yield server


@pytest.fixture(scope="session")
def running_below_a_path(deployed, running) -> Iterator[Server]:
    """Run a second server on the same deployment, as behind a proxy that gave it a path."""
    with running_server(deployed.path, "--root-path", "/quetz") as server:
        yield server


@pytest.fixture
def server(running) -> Iterator[Server]:
    """Run the server, whose log of the test must hold no exception and no key."""
    before = running.log.stat().st_size
    yield running
    logged = running.log.read_bytes()[before:].decode(errors="replace")
    assert "Traceback" not in logged, logged
    assert not KEY.search(logged), logged


@pytest.fixture(scope="session")
def alice(running, deployed) -> Iterator[QuetzClient]:
    """Be the owner of the server, with quetz-client."""
    client = QuetzClient.from_token(running.url, deployed.api_key)
    client.session.trust_env = False  # no proxy, and no netrc of who runs the tests
    with client.session:
        yield client


@pytest.fixture(scope="session")
def make_channel(alice) -> Callable[..., Channel]:
    def make(*, private: bool = False) -> Channel:
        name = f"forge{next(_numbers)}"
        alice.set_channel(name, private=private)
        return Channel(name, alice.url, alice)

    return make


@pytest.fixture
def channel(make_channel) -> Channel:
    """A public channel without a package."""
    return make_channel()


@pytest.fixture
def private_channel(make_channel) -> Channel:
    return make_channel(private=True)


@pytest.fixture
def reader_key(alice, private_channel) -> str:
    """A key that may only read the private channel."""
    role = {"channel": private_channel.name, "role": "member"}
    answer = alice.session.post(
        f"{alice.url}/api/api-keys", json={"description": "reader", "roles": [role]}
    )
    answer.raise_for_status()
    return answer.json()["key"]


@pytest.fixture(scope="session")
def stranger_key(running, deployed) -> str:
    """The key of a user who is no member of anything."""
    output = quetz("user", "create", "stranger", str(deployed.path))
    return output.split()[-1]


@pytest.fixture
def make_home(tmp_path) -> Callable[[], ClientHome]:
    def make() -> ClientHome:
        folder = tmp_path / f"home-{next(_numbers)}"
        folder.mkdir()
        return ClientHome(folder)

    return make


@pytest.fixture
def home(make_home) -> ClientHome:
    return make_home()


@pytest.fixture(scope="session")
def pack(tmp_path_factory) -> Callable[..., Path]:
    """Build a package that holds ``share/<name>.txt``, and more files if there are any."""
    packages = tmp_path_factory.mktemp("packages")

    def build(
        name: str,
        *version_and_build: str,
        subdir: str = "noarch",
        more_files: Mapping[str, bytes] = MappingProxyType({}),
        **options: Any,
    ) -> Path:
        folder = packages / str(next(_numbers)) / subdir
        folder.mkdir(parents=True)
        files = {f"share/{name}.txt": f"{name} {version_and_build} for {subdir}".encode()}
        files |= more_files
        return build_package(
            folder, name, *version_and_build, subdir=subdir, files=files, **options
        )

    return build
