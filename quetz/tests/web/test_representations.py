"""How bytes of files are sent, whatever the disk and the client do meanwhile."""

import asyncio
import os
import secrets
import time

import pytest

from quetz.web.representations import AT_ONCE, CHUNK, Representation, respond

pytestmark = pytest.mark.anyio

DATA = secrets.token_bytes(AT_ONCE + CHUNK + 7)


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(DATA)
    return Representation(path, len(DATA), b'"x"', "application/octet-stream", "public", 0)


class Client:
    """Reads an answer, and hangs up after so many messages with a part of the body."""

    def __init__(self, patience=None):
        self.body = b""
        self._patience = patience
        self._gone = asyncio.Event()

    async def receive(self):
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        if part := message.get("body"):
            self.body += part
            if self._patience is not None:
                self._patience -= 1
                if self._patience == 0:
                    self._gone.set()


def ask(file, client, wanted=b""):
    return respond(file, {b"range": wanted}, {"method": "GET"}, client.receive, client.send)


def let_the_disk_be(monkeypatch, *, cached, seconds=0.0):
    """Let files be read by a disk that has in memory what ``cached`` says of a start."""
    preadv = os.preadv

    def read(file, buffers, start, flags=0):
        if flags & os.RWF_NOWAIT:
            if not cached(start):
                raise BlockingIOError
            flags = 0  # the file system of the test may not know it
        else:
            time.sleep(seconds)
        return preadv(file, buffers, start, flags)

    monkeypatch.setattr("os.preadv", read)


@pytest.mark.parametrize(
    "cached",
    [
        pytest.param(lambda start: True, id="in memory"),
        pytest.param(lambda start: False, id="on the disk"),
        pytest.param(lambda start: start % (2 * CHUNK) == 0, id="half of it in memory"),
    ],
)
@pytest.mark.parametrize(
    ("wanted", "first", "end"),
    [
        (b"", 0, None),
        (b"bytes=5-9", 5, 10),
        (b"bytes=7-%d" % (AT_ONCE + CHUNK), 7, AT_ONCE + CHUNK + 1),
        (b"bytes=-%d" % (AT_ONCE + 1), -AT_ONCE - 1, None),
    ],
    ids=["whole", "few bytes", "many bytes", "its end"],
)
async def test_what_is_sent_is_what_the_file_holds(file, monkeypatch, cached, wanted, first, end):
    let_the_disk_be(monkeypatch, cached=cached)
    client = Client()

    whole = await ask(file, client, wanted)

    assert client.body == DATA[first:end]
    assert whole == (wanted == b"")


@pytest.mark.parametrize("wanted", [b"", b"bytes=0-9"], ids=["large", "small"])
async def test_others_are_answered_while_a_slow_disk_is_read(file, monkeypatch, wanted):
    let_the_disk_be(monkeypatch, cached=lambda start: False, seconds=0.3)
    sending = asyncio.create_task(ask(file, Client(), wanted))
    longest = 0.0

    while not sending.done():
        began = time.monotonic()
        await asyncio.sleep(0.001)
        longest = max(longest, time.monotonic() - began)

    assert longest < 0.2


async def test_a_client_that_goes_away_is_sent_no_more_and_counts_for_nothing(file, monkeypatch):
    let_the_disk_be(monkeypatch, cached=lambda start: True)
    client = Client(patience=1)

    whole = await ask(file, client)

    assert not whole
    assert len(client.body) < 3 * CHUNK


async def test_a_file_that_became_shorter_ends_in_an_error(file, tmp_path):
    os.truncate(tmp_path / "file", CHUNK)

    with pytest.raises(EOFError, match="became shorter"):
        await ask(file, Client())
