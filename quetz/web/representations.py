"""Representations: bytes with their validators, and how they are sent (RFC 9110)."""

import asyncio
import os
import re
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    MutableMapping,
)
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate, mktime_tz, parsedate_tz
from pathlib import Path
from typing import Any

import zstandard
from starlette.concurrency import run_in_threadpool

from quetz.storage.failures import store_failures

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

IMMUTABLE_SECONDS = 31_536_000
PACKAGE_SECONDS = 300

CHUNK = 1 << 16
"""How many bytes of a large file are handed over at once.

The web server holds several such copies for each client that reads slowly.
"""

AT_ONCE = 4 * CHUNK
"""Of how many bytes a file is handed over whole: it takes a third less time."""

ACCEPT_RANGES = (b"accept-ranges", b"bytes")
CSP = b"content-security-policy"
_RANGE = re.compile(rb"bytes=(\d*)-(\d*)")


@dataclass(frozen=True)
class Representation:
    """What a URL stands for at this moment, in one encoding.

    ``body`` is the bytes, or the file that holds them. A ``packed`` file holds them as one
    zstd frame, to be unpacked on the way; ``size`` is what is sent, in bytes. ``policy`` says
    what a browser may do with a page (Content-Security-Policy); with what is none, nothing.
    ``file_id`` is that of a package, whose downloads are counted.
    """

    body: bytes | Path
    size: int
    etag: bytes
    media_type: str
    cache_control: str
    modified: int
    encoding: str = ""
    negotiated: bool = False
    packed: bool = False
    attachment: bool = False
    policy: str = ""
    file_id: int | None = None
    validators: Headers = field(init=False)
    headers: Headers = field(init=False)

    @property
    def private(self) -> bool:
        """Whether not everybody may have it."""
        return self.cache_control.startswith("private")

    def __post_init__(self) -> None:
        validators = [
            (b"etag", self.etag),
            (b"cache-control", self.cache_control.encode()),
        ]
        if self.negotiated:
            validators.append((b"vary", b"Accept-Encoding"))
        headers = [
            *validators,
            (b"content-type", self.media_type.encode()),
            (b"last-modified", formatdate(self.modified / 1000, usegmt=True).encode()),
        ]
        if self.policy:
            headers.append((CSP, self.policy.encode()))
        if self.encoding:
            headers.append((b"content-encoding", self.encoding.encode()))
        if self.attachment:
            headers.append((b"content-disposition", b"attachment"))
        if not self.packed:
            headers.append(ACCEPT_RANGES)
        object.__setattr__(self, "validators", tuple(validators))
        object.__setattr__(self, "headers", tuple(headers))


async def respond(  # noqa: PLR0917  the three of ASGI, and what was found out before
    representation: Representation,
    headers: Mapping[bytes, bytes],
    scope: Scope,
    receive: Receive,
    send: Send,
    elsewhere: tuple[int, Headers] | None = None,
) -> bool:
    """Answer a GET or HEAD; say whether a whole body was sent.

    ``elsewhere`` is a status with headers that say where the body is, and stand in for it.
    """
    if _is_known(representation, headers):
        await _send_empty(send, 304, representation.validators)
        return False
    wanted: tuple[int, int] | None = (0, representation.size)
    if scope["method"] == "GET":  # Range means nothing to the other methods (RFC 9110, 14.2)
        wanted = _wanted_range(representation, headers)
    if wanted is None:
        lies_outside = (b"content-range", b"bytes */%d" % representation.size)
        await _send_empty(send, 416, (lies_outside,))
        return False
    first, end = wanted
    whole = end - first == representation.size
    length = (b"content-length", b"%d" % (end - first))
    if elsewhere is not None:
        status, fields = elsewhere
        await _send_empty(send, status, (*fields, (b"content-length", b"0")))
        return whole
    if scope["method"] == "HEAD":
        await _send_empty(send, 200, (*representation.headers, length))
        return False
    span = (b"content-range", b"bytes %d-%d/%d" % (first, end - 1, representation.size))
    fields = (*representation.headers, length) if whole else (*representation.headers, length, span)
    with _opened(representation) as file:
        await _start(send, 200 if whole else 206, fields)
        return await _send_body(representation, file, wanted, receive, send) and whole


@contextmanager
def _opened(representation: Representation) -> Iterator[int]:
    """Open the body's file before anything is said of it; -1 stands for bytes in memory.

    Raises:
        StoreUnavailable: it is gone since it was found.
    """
    if isinstance(representation.body, bytes):
        yield -1
        return
    with store_failures():
        file = os.open(representation.body, os.O_RDONLY)
    try:
        yield file
    finally:
        os.close(file)


async def _send_empty(send: Send, status: int, headers: Headers) -> None:
    await _start(send, status, headers)
    await send({"type": "http.response.body", "body": b""})


def _start(send: Send, status: int, headers: Headers) -> Awaitable[None]:
    return send({"type": "http.response.start", "status": status, "headers": headers})


def _is_known(representation: Representation, headers: Mapping[bytes, bytes]) -> bool:
    """Tell whether the client has it: by If-None-Match, or else by If-Modified-Since.

    The latter means nothing beside the former (RFC 9110, 13.1.3). An index may have had several
    states in one second, so that a date of this second says nothing of it (8.8.2.2).
    """
    tags = headers.get(b"if-none-match")
    if tags is not None:
        return _matches(tags, representation.etag)
    since = headers.get(b"if-modified-since")
    if since is None:
        return False
    modified = representation.modified // 1000
    return (modified if representation.attachment else modified + 1) <= _seconds(since)


def _seconds(date: bytes) -> int:
    """Return a date in seconds since 1970; what is none lies before everything."""
    try:
        parts = parsedate_tz(date.decode("latin-1"))
        return -1 if parts is None else int(mktime_tz(parts))
    except (ValueError, OverflowError):
        return -1


def _matches(value: bytes, etag: bytes) -> bool:
    """Compare weakly, as If-None-Match demands (RFC 9110, 13.1.2)."""
    if value == etag:
        return True
    tags = [tag.strip().removeprefix(b"W/") for tag in value.split(b",")]
    return etag in tags or tags == [b"*"]


def _wanted_range(
    representation: Representation, headers: Mapping[bytes, bytes]
) -> tuple[int, int] | None:
    """Return the first byte and the end of what is asked for; None if it lies outside.

    Several ranges, other units, and a Range whose If-Range names another state are answered
    with the whole, as RFC 9110 allows.
    """
    size = representation.size
    match = _RANGE.fullmatch(headers.get(b"range", b"").replace(b" ", b""))
    if match is None or representation.packed or match.groups() == (b"", b""):
        return 0, size
    if headers.get(b"if-range", representation.etag) != representation.etag:
        return 0, size
    if match[1] == b"":
        length = min(_number(match[2]), size)
        return (size - length, size) if length else None
    first = _number(match[1])
    end = min(_number(match[2]) + 1, size) if match[2] else size
    if first >= size:
        return None
    return (first, end) if first < end else (0, size)


def _number(digits: bytes) -> int:
    """Read a number; of one that exceeds every file its first digits will do."""
    return int(digits.lstrip(b"0")[:20] or b"0")


async def _send_body(
    representation: Representation,
    file: int,
    span: tuple[int, int],
    receive: Receive,
    send: Send,
) -> bool:
    first, end = span
    body = representation.body
    if isinstance(body, bytes):
        await send({"type": "http.response.body", "body": body[first:end]})
        return True
    if representation.packed:
        return await _send_chunks(_unpacked(file), receive, send)
    if end - first > AT_ONCE:
        return await _send_chunks(_pieces(file, first, end), receive, send)
    buffer = bytearray(end - first)
    await _fill(buffer, file, first)
    await send({"type": "http.response.body", "body": buffer})
    return True


async def _pieces(file: int, first: int, end: int) -> AsyncIterator[bytearray]:
    """Yield the bytes in one buffer, filled again and again: the server copies what it sends."""
    buffer = bytearray(CHUNK)
    for start in range(first, end, CHUNK):
        del buffer[end - start :]
        await _fill(buffer, file, start)
        yield buffer


async def _fill(buffer: bytearray, file: int, start: int) -> None:
    """Read what is in the page cache at once, and only let a thread wait for the disk.

    Raises:
        EOFError: the file is shorter than it was.
    """
    try:
        count = os.preadv(file, [buffer], start, os.RWF_NOWAIT)
    except OSError:  # it would have to wait, or the file system cannot tell
        count = 0
    if count < len(buffer):
        count = await run_in_threadpool(os.preadv, file, [buffer], start)
    if count < len(buffer):
        raise EOFError("a file became shorter while it was sent")


async def _unpacked(file: int) -> AsyncIterator[bytes]:
    with (
        os.fdopen(file, "rb", closefd=False) as packed,
        zstandard.ZstdDecompressor().stream_reader(packed) as reader,
    ):
        # A thread for each chunk would take as long as unpacking it does.
        while piece := await run_in_threadpool(reader.read, 8 * CHUNK):
            for start in range(0, len(piece), CHUNK):
                yield piece[start : start + CHUNK]


async def _send_chunks(
    chunks: AsyncIterator[bytes | bytearray], receive: Receive, send: Send
) -> bool:
    """Send until the end, or until the client is gone: ``send`` alone would not tell."""
    gone = asyncio.create_task(_wait_for_disconnect(receive))
    try:
        async for chunk in chunks:
            if gone.done():
                return False
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await asyncio.sleep(0)  # or nobody else has a turn until a slow client lets us wait
        await send({"type": "http.response.body", "body": b""})
        return True
    finally:
        gone.cancel()


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
