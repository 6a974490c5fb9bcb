"""Sharded repodata as the strictest client reads it (CEP 16): every client's rules at once.

conda takes one zstd frame with a window of at most 2^24 bytes, capped in size; rattler and
conda require the keys of ``info``; mamba takes a hash only as 32 binary bytes. What breaks one
of them breaks this reader.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any, Final, Literal, TypeVar
from urllib.parse import urljoin

import msgspec
import zstandard

from quetz.conda.filenames import PackageFilename
from quetz.conda.names import check_package_name, check_subdir
from quetz.errors import Invalid

Fetch = Callable[[str], bytes]
Document = TypeVar("Document")

INDEX_LIMIT: Final = 128 << 20
SHARD_LIMIT: Final = 16 << 20
_LARGEST_WINDOW: Final = 2**24

_Moment = Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")]
_Md5 = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
_Sha256 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class _About(msgspec.Struct):
    base_url: str
    shards_base_url: str
    subdir: str
    created_at: _Moment


class _Index(msgspec.Struct):
    version: Literal[1]
    info: _About
    shards: dict[str, _Sha256]


class _Record(msgspec.Struct):
    name: str
    version: str
    build: str
    build_number: int
    subdir: str
    depends: list[str]
    size: int
    md5: _Md5
    sha256: _Sha256
    indexed_timestamp: int
    run_exports: dict[str, list[str]]


class _Shard(msgspec.Struct):
    packages: dict[str, _Record]
    packages_conda: dict[str, _Record] = msgspec.field(name="packages.conda")
    removed: list[str] = []

    def files(self) -> Iterator[tuple[str, str, _Record]]:
        """Yield (file name, the suffix its section is for, record)."""
        for filename, record in self.packages.items():
            yield filename, ".tar.bz2", record
        for filename, record in self.packages_conda.items():
            yield filename, ".conda", record


class BadShards(Exception):
    """A client could not read the index or a shard; the text says which rule is broken."""


@dataclass(frozen=True)
class ShardIndex:
    """``shards`` maps a package name to the SHA-256 digest of its shard."""

    url: str
    subdir: str
    base_url: str
    shards_base_url: str
    created_at: str
    shards: dict[str, bytes]

    def shard_url(self, name: str) -> str:
        return self._url_in(self.shards_base_url, f"{self.shards[name].hex()}.msgpack.zst")

    def package_url(self, filename: str) -> str:
        return self._url_in(self.base_url, filename)

    def _url_in(self, folder: str, name: str) -> str:
        """Return a URL in a folder that is given relative to the one of the index."""
        return urljoin(_folder(urljoin(urljoin(self.url, "."), folder)), name)


def read_index(fetch: Fetch, base_url: str) -> ShardIndex:
    """Read the index of the subdir at ``base_url``; ``fetch`` returns the bytes at a URL.

    Raises:
        BadShards: some client could not read it.
    """
    url = urljoin(_folder(base_url), "repodata_shards.msgpack.zst")
    index = _decode(_unpack(fetch(url), INDEX_LIMIT, url), _Index, url)
    try:
        check_subdir(index.info.subdir)
        for name in index.shards:
            check_package_name(name)
    except Invalid as error:
        raise BadShards(f"{url}: {error}") from error
    info = index.info
    return ShardIndex(
        url, info.subdir, info.base_url, info.shards_base_url, info.created_at, index.shards
    )


def read_shard(fetch: Fetch, index: ShardIndex, name: str) -> dict[str, dict[str, Any]]:
    """Read the shard of one name: ``{"numpy-2.1.0-0.conda": record}``.

    Raises:
        BadShards: some client could not read it, or it is not what the index names.
    """
    url = index.shard_url(name)
    data = fetch(url)
    if sha256(data).digest() != index.shards[name]:
        raise BadShards(f"{url}: its bytes have another hash")
    raw = _unpack(data, SHARD_LIMIT, url)
    shard = _decode(raw, _Shard, url)
    for filename, suffix, record in shard.files():
        try:
            parts = PackageFilename.parse(filename)
        except Invalid as error:
            raise BadShards(f"{url}: {error}") from error
        said = (record.name, record.version, record.build, record.subdir)
        if parts.suffix != suffix or filename in shard.removed:
            raise BadShards(f"{url}: {filename!r} is in the wrong section")
        if said != (name, parts.version, parts.build, index.subdir) or parts.name != name:
            raise BadShards(f"{url}: {filename!r} in the shard of {name!r} calls itself {said}")
    whole = msgspec.msgpack.decode(raw, type=dict[str, Any])
    return dict(whole["packages"] | whole["packages.conda"])


def read_all(fetch: Fetch, base_url: str) -> dict[str, dict[str, Any]]:
    """Read all records of a subdir by file name.

    Raises:
        BadShards: some client could not read the index or a shard.
    """
    index = read_index(fetch, base_url)
    records: dict[str, dict[str, Any]] = {}
    for name in index.shards:
        records |= read_shard(fetch, index, name)
    return records


def _unpack(data: bytes, limit: int, url: str) -> bytes:
    try:
        frame = zstandard.get_frame_parameters(data)
        if frame.content_size > limit:  # also where the header does not say it
            raise BadShards(f"{url}: no content size, or one above {limit}")
        if frame.window_size > _LARGEST_WINDOW or frame.dict_id:
            raise BadShards(f"{url}: a window of {frame.window_size} bytes, or a dictionary")
        return zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise BadShards(f"{url}: not exactly one zstd frame: {error}") from error


def _decode(raw: bytes, document: type[Document], url: str) -> Document:
    try:
        return msgspec.msgpack.decode(raw, type=document)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadShards(f"{url}: {error}") from error


def _folder(url: str) -> str:
    return url if url.endswith("/") else f"{url}/"
