"""Two servers on one database: one of them publishes, and both show it."""

import contextlib
import hashlib
import itertools
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx2 as httpx
import pytest
import zstandard

from quetz.testing.packages import build_package
from quetz.testing.shard_reader import read_all

SECONDS = 30


@pytest.fixture
def folder(tmp_path):
    """Give a folder that is named as the subdir is."""
    folder = tmp_path / "noarch"
    folder.mkdir()
    return folder


@pytest.fixture
def clients(running, running_below_a_path, deployed):
    """Give a client of each server, with the key of their owner."""
    with contextlib.ExitStack() as opened:
        yield [
            opened.enter_context(
                httpx.Client(
                    base_url=url,
                    headers={"X-API-Key": deployed.api_key},
                    timeout=SECONDS,
                    trust_env=False,
                )
            )
            for url in (running.url, running_below_a_path.url)
        ]


def upload(client, channel, package, **parameters):
    content = package.read_bytes()
    parameters["sha256"] = hashlib.sha256(content).hexdigest()
    path = f"/api/channels/{channel.name}/upload/{package.name}"
    answer = client.post(path, params=parameters, content=content)
    assert answer.status_code == 201, answer.text
    return answer


def files(client, channel) -> set[str]:
    """Read repodata.json.zst, which must be whole."""
    answer = client.get(f"/get/{channel.name}/noarch/repodata.json.zst")
    assert answer.status_code == 200
    document = json.loads(zstandard.ZstdDecompressor().decompress(answer.content))
    return set(document["packages.conda"])


def test_what_a_server_says_is_published_the_other_shows_within_a_second(
    clients, channel, database, folder
):
    for uploading, reading in (clients, reversed(clients)):
        package = build_package(folder, name=f"by-{clients.index(uploading)}", subdir="noarch")
        assert package.name not in files(reading, channel)  # which also fills its cache

        answer = upload(uploading, channel, package, wait_for_index=20)
        published_at = time.monotonic()

        assert answer.headers.get("quetz-index") == "published"
        allowed = 0 if database.startswith("sqlite") else 1
        while package.name not in files(reading, channel):
            assert time.monotonic() < published_at + allowed


def test_servers_that_are_uploaded_to_together_end_with_one_index(clients, channel, folder):
    packages = [build_package(folder, name=f"p{n}", subdir="noarch") for n in range(24)]
    done = threading.Event()

    def read_on(client) -> int:
        count, known = 0, set[str]()
        while not done.is_set():
            now = files(client, channel)
            assert now >= known
            known, count = now, count + 1
        return count

    with ThreadPoolExecutor(8) as threads:
        readers = [threads.submit(read_on, client) for client in clients]
        try:
            pairs = zip(itertools.cycle(clients), packages, strict=False)
            for sent in [threads.submit(upload, client, channel, p) for client, p in pairs]:
                sent.result()
            channel.wait_for(*packages)
        finally:
            done.set()
        assert all(reader.result() > 0 for reader in readers)

    expected = {package.name for package in packages}
    for client in clients:
        beside = replace(channel, server_url=str(client.base_url).rstrip("/"))
        assert files(client, channel) == expected
        assert set(read_all(beside.fetch, f"{beside.url}/noarch")) == expected
