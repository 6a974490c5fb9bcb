"""Clients that read slowly, from a real server."""

import secrets
import socket
import time
from contextlib import closing
from urllib.parse import urlsplit

SIZE = 12_000_000  # more than the kernel's buffers take


def test_a_large_package_reaches_a_slow_client_whole(server, channel, pack):
    package = pack("large", more_files={"payload": secrets.token_bytes(SIZE)})
    channel.publish(package)
    address = urlsplit(f"{channel.url}/noarch/{package.name}")
    request = f"GET {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n\r\n"

    answer = b""
    with closing(socket.create_connection((address.hostname, address.port), 30)) as connection:
        connection.sendall(request.encode())
        while part := connection.recv(1 << 19):
            answer += part
            time.sleep(0.02)

    assert answer.partition(b"\r\n\r\n")[2] == package.read_bytes()
