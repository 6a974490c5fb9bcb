"""Clients that read slowly, from a real server."""

import re
import secrets
import socket
import time
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

SIZE = 12_000_000  # more than the kernel's buffers take
CLIENTS = 16


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
