"""The bare peer: an ASGI app that does the least, on the same server with the same settings."""

import multiprocessing
import os
import sys
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from quetz.cli.server import HEADER_MILLISECONDS, MAX_CONNECTIONS, STOP_SECONDS

ETAG = b'"0123456789abcdef0123456789abcdef"'
MEMORY = "/memory/"
"""The path of so many bytes, which follow."""
FILE = Path(os.environ.get("BENCHMARK_FILE", os.devnull))

SIZE = FILE.stat().st_size

Message = dict[str, Any]


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Answer a GET with the file, with so many bytes from memory, or with 304 to the one ETag.

    What is POSTed is read and dropped.
    """
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["method"] == "POST":
        while (await receive()).get("more_body"):
            pass
        await _answer(send, 201, [(b"content-type", b"application/json")], b"null")
    elif dict(scope["headers"]).get(b"if-none-match") == ETAG:
        await _answer(send, 304, [(b"etag", ETAG), (b"cache-control", b"max-age=0")], b"")
    elif scope["path"].startswith(MEMORY):
        await _answer_whole(send, _from_memory(int(scope["path"].removeprefix(MEMORY))))
    else:
        file = os.open(FILE, os.O_RDONLY)
        try:
            body = os.pread(file, SIZE, 0)
        finally:
            os.close(file)
        await _answer_whole(send, body)


@cache
def _from_memory(size: int) -> bytes:
    return bytes(size)


async def _answer_whole(send: Callable[[Message], Awaitable[None]], body: bytes) -> None:
    headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/zstd")]
    await _answer(send, 200, headers, body)


async def _answer(
    send: Callable[[Message], Awaitable[None]],
    status: int,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    multiprocessing.set_start_method("spawn", force=True)
    Granian(
        "benchmarks.bare:app",
        address="127.0.0.1",
        port=int(sys.argv[1]),
        workers=1,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_MILLISECONDS),
        websockets=False,
        backlog=2048,
        backpressure=MAX_CONNECTIONS,
        workers_kill_timeout=STOP_SECONDS,
        log_level=LogLevels.warning,
    ).serve()


if __name__ == "__main__":
    main()
