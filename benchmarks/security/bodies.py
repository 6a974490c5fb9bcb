"""REL-10: a request that is refused takes little of its body first."""

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.security.places import CHANNEL, Place, running

PIECE = 16 << 10
PATIENCE = 0.02  # seconds that the server has to answer before the next piece
GIGABYTE = 1 << 30
KB = 1024


def measure(scale: float, folder: Path) -> list[Figure]:
    """Send each kind of request piece by piece until it is answered; ``scale`` has no effect."""
    with running(folder / "server", limits={"upload_size": 1_000_000}) as place:
        return [
            Figure(
                f"REL-10 {name}: of the body taken before {status}",
                [taken / KB],
                "KiB",
                256,
                f"{seconds * 1000:.0f} ms",
            )
            for name, status, taken, seconds in _measure(place)
        ]


def _measure(place: Place) -> Iterator[tuple[str, int, int, float]]:
    key = f"X-API-Key: {place.key}\r\n"
    raw = f"/api/channels/{CHANNEL}/upload/pkg-1.0-0.conda"
    known = f"Content-Length: {GIGABYTE}\r\n"
    chunked = "Transfer-Encoding: chunked\r\n"
    form = "Content-Type: multipart/form-data; boundary=x\r\n"
    cases = [
        ("anonymous upload", raw, known),
        ("anonymous upload in chunks", raw, chunked),
        ("anonymous form", f"/api/channels/{CHANNEL}/files/", known + form),
        ("anonymous JSON", "/api/channels", known),
        ("upload to a hidden channel", raw.replace(CHANNEL, "closed"), known),
        ("upload beyond the limit", raw, known + key),
        ("form beyond the limit", f"/api/channels/{CHANNEL}/files/", known + form + key),
        ("JSON beyond the limit", "/api/channels", known + key),
    ]
    for name, path, headers in cases:
        yield name, *_send(place.port, path, headers, chunked=headers == chunked)


def _send(port: int, path: str, headers: str, *, chunked: bool) -> tuple[int, int, float]:
    """Return the status, the bytes of the body that were sent by then, and the seconds it took."""
    piece = bytes(PIECE)
    if chunked:
        piece = b"%x\r\n%s\r\n" % (PIECE, piece)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as wire:
        began = time.perf_counter()
        wire.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode())
        sent = 0
        wire.settimeout(PATIENCE)
        while True:
            try:
                answer = wire.recv(1 << 16)
                break
            except TimeoutError:
                wire.settimeout(30)
                wire.sendall(piece)
                wire.settimeout(PATIENCE)
                sent += PIECE
    status = re.match(rb"HTTP/1.1 (\d+)", answer)
    assert status is not None, answer
    return int(status[1]), sent, time.perf_counter() - began
