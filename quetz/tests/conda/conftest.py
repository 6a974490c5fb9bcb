"""A channel in memory: what a server would publish of packages, by URL."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from hashlib import md5, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import settings

from quetz.conda import pieces
from quetz.conda.archives import read_archive
from quetz.conda.filenames import name_of_file
from quetz.conda.records import encode_record
from quetz.conda.repodata import encode_repodata
from quetz.conda.shard_indexes import ShardIndex
from quetz.conda.shards import encode_shard
from quetz.conda.texts import encode_json
from quetz.conda.zstd import compress
from quetz.tests.conda.documents import LARGEST, SMALLEST, TARGET

# A busy machine is no fault of the code.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

Publish = Callable[[Iterable[Path]], dict[str, bytes]]


@pytest.fixture(scope="module")
def small_pieces():
    """Cut documents into pieces of few bytes."""
    with pytest.MonkeyPatch.context() as patch:
        for name, size in {"TARGET": TARGET, "SMALLEST": SMALLEST, "LARGEST": LARGEST}.items():
            patch.setattr(pieces, name, size)
        yield


@pytest.fixture
def publish() -> Publish:
    """Return a function from package files to what is served: ``{"noarch/...": bytes}``."""
    return _publish


def _publish(packages: Iterable[Path]) -> dict[str, bytes]:
    by_subdir: dict[str, list[tuple[str, str, str]]] = {"noarch": []}
    served = {}
    for path in packages:
        archive = read_archive(path, path.name)
        data = path.read_bytes()
        record = encode_record(
            archive,
            size=len(data),
            md5=md5(data).hexdigest(),
            sha256=sha256(data).hexdigest(),
            indexed_timestamp=1_700_000_000_000,
        )
        served[f"{archive.subdir}/{path.name}"] = data
        file = (path.name, record, encode_json(archive.run_exports))
        by_subdir.setdefault(archive.subdir, []).append(file)
    for subdir, files in by_subdir.items():
        served |= {f"{subdir}/{name}": data for name, data in _index(subdir, files).items()}
    return served


def _index(subdir: str, files: list[tuple[str, str, str]]) -> dict[str, bytes]:
    by_name = defaultdict(list)
    for file in files:
        by_name[name_of_file(file[0])].append(file)
    shards = {name: compress(encode_shard(group), 3) for name, group in by_name.items()}
    digests = {name: sha256(shard).digest() for name, shard in shards.items()}
    index, _ = ShardIndex.of(digests).encode(subdir, 1_700_000_000_123)
    repodata = encode_repodata(subdir, [(name, record) for name, record, _ in files])
    return {
        "repodata_shards.msgpack.zst": index,
        "repodata.json": repodata,
        "repodata.json.zst": compress(repodata, 3),
    } | {f"shards/{digests[name].hex()}.msgpack.zst": shards[name] for name in shards}


@pytest.fixture
def serve() -> Iterator[Callable[[dict[str, bytes]], str]]:
    """Return a function that serves documents by path, and returns the URL of their folder."""
    with ExitStack() as stack:
        yield lambda documents: stack.enter_context(serving(documents))


@contextmanager
def serving(documents: dict[str, bytes]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self.wfile.write(self._answer())

        def log_message(self, *_args: object) -> None:
            pass

        def _answer(self) -> bytes:
            body = documents.get(self.path.removeprefix("/chan/"))
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            return body or b""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/chan"
        server.shutdown()
        thread.join()
