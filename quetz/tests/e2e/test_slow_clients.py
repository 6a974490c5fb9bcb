"""Clients that read slowly, from a real server."""

import re
import secrets
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from quetz.db.engine import MAX_OVERFLOW, POOL_SIZE

SIZE = 12_000_000  # more than the kernel's buffers take
CLIENTS = 16
WAIT_SECONDS = 30
CROWD = POOL_SIZE + MAX_OVERFLOW + 4
"""More than the server has connections to its database, and threads."""


@pytest.fixture
def package(channel, pack):
    package = pack("large", more_files={"payload": secrets.token_bytes(SIZE)})
    channel.publish(package)
    return package


def ask(channel, package):
    address = urlsplit(f"{channel.url}/noarch/{package.name}")
    request = f"GET {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n\r\n"
    connection = socket.create_connection((address.hostname, address.port), 30)
    connection.sendall(request.encode())
    return closing(connection)


def memory(process: int) -> int:
    """Return how many bytes a process and its children have for themselves."""
    status = Path(f"/proc/{process}/status").read_text()
    own = re.search(r"^RssAnon:\s*(\d+) kB$", status, re.MULTILINE)
    children = Path(f"/proc/{process}/task").glob("*/children")
    below = [int(child) for file in children for child in file.read_text().split()]
    return (int(own[1]) << 10 if own else 0) + sum(map(memory, below))


def test_clients_that_read_nothing_take_little_of_the_memory(server, channel, package):
    with ask(channel, package) as warm:
        while warm.recv(1 << 19):
            pass
    before = memory(server.process.pid)

    with ExitStack() as stack:
        for _ in range(CLIENTS):
            stack.enter_context(ask(channel, package))
        time.sleep(2)  # until nothing more is sent
        taken = memory(server.process.pid) - before

    assert taken < CLIENTS * 2_000_000


def test_a_large_package_reaches_a_slow_client_whole(channel, package):
    answer = b""
    with ask(channel, package) as connection:
        while part := connection.recv(1 << 19):
            answer += part
            time.sleep(0.02)

    assert answer.partition(b"\r\n\r\n")[2] == package.read_bytes()


def begin_upload(channel, package, api_key):
    """Send the head of an upload and half of its body; give the connection, and the rest."""
    address = urlsplit(channel.server_url)
    body = package.read_bytes()
    head = (
        f"POST /api/channels/{channel.name}/upload/{package.name} HTTP/1.1\r\n"
        f"Host: {address.netloc}\r\nX-API-Key: {api_key}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    connection = socket.create_connection((address.hostname, address.port), 30)
    connection.sendall(head.encode() + body[: len(body) // 2])
    return closing(connection), body[len(body) // 2 :]


def finish(connection, rest):
    connection.sendall(rest)
    answer = b""
    while part := connection.recv(1 << 16):
        answer += part
    return int(answer.split(None, 2)[1])


def test_more_slow_clients_than_connections_to_the_database_hold_nobody_up(
    channel, package, pack, deployed
):
    small = [pack(f"pkg{number}") for number in range(CROWD)]

    with ExitStack() as stack:
        for _ in range(CROWD):
            stack.enter_context(ask(channel, package))
        begun = [begin_upload(channel, one, deployed.api_key) for one in small]
        uploads = [(stack.enter_context(connection), rest) for connection, rest in begun]
        prompt = pack("prompt")
        channel.publish(prompt)
        with ThreadPoolExecutor(CROWD) as threads:
            statuses = list(threads.map(lambda upload: finish(*upload), uploads))

    assert statuses == [201] * CROWD
    channel.wait_for(*small)


def is_full(channel):
    """Tell whether there is no room for a byte; sent in chunks, it holds none itself."""
    url = f"{channel.server_url}/api/channels/{channel.name}/upload/byte-1.0-0.conda"
    return "size_limit" in channel.owner.session.post(url, data=iter([b"1"])).text


def wait_until(is_so):
    deadline = time.monotonic() + WAIT_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_upload_that_is_broken_off_gives_its_room_back(channel, pack, deployed):
    package = pack("pkg")
    channel.owner.session.patch(
        f"{channel.server_url}/api/channels/{channel.name}",
        json={"size_limit": package.stat().st_size},
    ).raise_for_status()

    connection, _ = begin_upload(channel, package, deployed.api_key)
    with connection:
        wait_until(lambda: is_full(channel))
    wait_until(lambda: not is_full(channel))

    channel.publish(package)
