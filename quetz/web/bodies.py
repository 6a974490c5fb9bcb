"""Request bodies of any size, streamed to staging files with flat memory."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Protocol

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from quetz.conda.filenames import PackageFilename
from quetz.errors import Invalid, UploadCutOff, UploadTooLarge
from quetz.storage import ObjectStore, Stage

BATCH = 1 << 20  # bytes handed to a thread at once: hashing them outweighs the hand-over
STALL_SECONDS = 60.0
FIELD_LIMIT = 1 << 10
FIELDS_LIMIT = 100
FILES_LIMIT = 1_000


class BadForm(Invalid):
    def __init__(self, reason: str) -> None:
        super().__init__(f"the body is not a multipart form of package files: {reason}")


class Sink(Protocol):
    """Takes a body piece by piece, in threads, and ends as named staging files."""

    def write(self, data: bytes) -> None: ...

    def finish(self) -> list[tuple[str, Stage]]:
        """End the last file, durably; return (file name, staging file) of each."""

    def discard(self) -> None:
        """Remove what is still staged; safe at any time, and more than once."""


class RawSink:
    """The whole body is one file."""

    def __init__(self, store: ObjectStore, filename: str) -> None:
        self._filename = filename
        self._stage = store.stage()
        self.write = self._stage.write
        self.discard = self._stage.discard

    def finish(self) -> list[tuple[str, Stage]]:
        self._stage.finish()
        return [(self._filename, self._stage)]


class MultipartSink:
    """A form (RFC 7578): each part with a file name is a file, the other parts are fields."""

    def __init__(self, store: ObjectStore, content_type: str) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise BadForm("send Content-Type: multipart/form-data with a boundary")
        self.fields: dict[str, str] = {}
        self._store = store
        self._files: list[tuple[str, Stage]] = []
        self._headers: dict[str, bytes] = {}
        self._header: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self._field: tuple[str, bytearray] | None = None
        self._ended = False
        try:
            self._parser = MultipartParser(
                options[b"boundary"],
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": lambda d, a, b: self._header[0].extend(d[a:b]),
                    "on_header_value": lambda d, a, b: self._header[1].extend(d[a:b]),
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._open_part,
                    "on_part_data": self._take,
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise BadForm(str(error)) from error

    def write(self, data: bytes) -> None:
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise BadForm(str(error)) from error

    def finish(self) -> list[tuple[str, Stage]]:
        if not self._ended:
            raise BadForm("it ends before its closing boundary")
        if not self._files:
            raise BadForm("no part has a file name")
        return self._files

    def discard(self) -> None:
        for _, stage in self._files:
            stage.discard()

    def _begin_part(self) -> None:
        self._headers = {}

    def _end_header(self) -> None:
        name, value = self._header
        self._headers[name.decode("latin-1").lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def _open_part(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition", b""))
        if b"name" not in options:
            raise BadForm("a part has no name")
        if b"filename" in options:
            self._open_file(options[b"filename"].decode("utf-8", "replace"))
        else:
            self._open_field(options[b"name"].decode("utf-8", "replace"))
        if any(b"\0" in value for value in self._headers.values()):
            raise BadForm("a header of a part holds a NUL")

    def _open_field(self, name: str) -> None:
        if len(self.fields) >= FIELDS_LIMIT:
            raise BadForm(f"it has more than {FIELDS_LIMIT} fields")
        self._field = (name, bytearray())

    def _open_file(self, filename: str) -> None:
        PackageFilename.parse(filename)  # before its bytes are taken
        if len(self._files) >= FILES_LIMIT:
            raise BadForm(f"it has more than {FILES_LIMIT} files")
        self._field = None
        self._files.append((filename, self._store.stage()))

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            self._files[-1][1].write(data[start:end])
            return
        name, value = self._field
        value.extend(data[start:end])
        if len(value) > FIELD_LIMIT:
            raise BadForm(f"field {name!r} exceeds {FIELD_LIMIT} bytes")

    def _end_part(self) -> None:
        if self._field is None:
            self._files[-1][1].finish()
        else:
            name, value = self._field
            self.fields[name] = value.decode("utf-8", "replace")

    def _end(self) -> None:
        self._ended = True


async def receive(request: Request, sink: Sink, *, limit: int) -> None:
    """Stream the body into ``sink``; hashing one batch overlaps receiving the next.

    Raises:
        UploadTooLarge: it holds more than ``limit`` bytes.
        UploadCutOff: the client went away, or sent nothing for a minute.
    """
    taken = 0
    batch: list[bytes] = []
    waiting = 0
    writing: asyncio.Task[None] | None = None
    try:
        async for chunk in _chunks(request):
            taken += len(chunk)
            if taken > limit:
                raise UploadTooLarge("the upload", limit)
            batch.append(chunk)
            waiting += len(chunk)
            if waiting >= BATCH:
                if writing is not None:
                    await writing
                writing = asyncio.create_task(_in_thread(sink.write, b"".join(batch)))
                batch, waiting = [], 0
    finally:
        if writing is not None:
            await writing  # before anyone discards what it is still writing to
    if batch:
        await _in_thread(sink.write, b"".join(batch))


def _in_thread(work: Callable[[bytes], None], data: bytes) -> Coroutine[Any, Any, None]:
    return run_in_threadpool(work, data)


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    stream = request.stream()
    while True:
        try:
            yield await asyncio.wait_for(anext(stream), STALL_SECONDS)
        except StopAsyncIteration:
            return
        except (ClientDisconnect, TimeoutError):
            raise UploadCutOff(request.url.path.rpartition("/")[2]) from None
