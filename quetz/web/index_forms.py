"""Index forms: from the name in a URL to the representation that suits the client."""

import asyncio
import gzip
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from weakref import WeakValueDictionary

from starlette.concurrency import run_in_threadpool

from quetz.conda.pieces import LEVEL, TornDocument
from quetz.conda.zstd import compress, decompress
from quetz.services.empty_indexes import EMPTY
from quetz.services.index_builds import INDEX_LIMIT
from quetz.services.index_zips import ZippedDocuments, document_of
from quetz.services.publishing import (
    CHANNELDATA,
    CHANNELDATA_ZST,
    FROM_PACKAGES_ZST,
    REPODATA,
    REPODATA_ZST,
    RUN_EXPORTS_ZST,
    SHARD_INDEX,
    SHARDS,
    Files,
    IndexFile,
    Switch,
    read_file,
    shard_key,
)
from quetz.storage import ObjectStore, StoreKey
from quetz.storage.keys import parse_index_key
from quetz.web.representations import IMMUTABLE_SECONDS, Representation

ZSTD = "application/zstd"
GZIP = "application/gzip"
JSON = "application/json"
GZIP_LEVEL = 6

MEMORY = 64 << 20
"""How many bytes of index files a process keeps; a file of more than a 32nd is not kept."""
KEPT_SIZE = MEMORY // 32  # the shard index of half a million packages has 1.3 MB
OVERHEAD = 2_000  # bytes that an entry takes besides its body


@dataclass(frozen=True)
class Form:
    """A name that clients ask for. ``stored`` is the published file behind it.

    ``negotiated``: the URL means the JSON itself, sent in an encoding that the client accepts;
    otherwise it means the file as it is, or its gzip form where it is ``zipped``.
    """

    family: str
    stored: str
    media_type: str
    negotiated: bool = False
    zipped: bool = False

    def file_of(self, files: Files) -> IndexFile:
        """Return the published file; the original records are a file only where others differ."""
        return files.get(self.stored) or files[REPODATA_ZST]


SUBDIR_FORMS = {
    "repodata_shards.msgpack.zst": Form(SHARDS, SHARD_INDEX, ZSTD),
    "repodata.json.zst": Form(REPODATA, REPODATA_ZST, ZSTD),
    "repodata.json.gz": Form(REPODATA, REPODATA_ZST, GZIP, zipped=True),
    "repodata.json": Form(REPODATA, REPODATA_ZST, JSON, negotiated=True),
    "repodata_from_packages.json.zst": Form(REPODATA, FROM_PACKAGES_ZST, ZSTD),
    "repodata_from_packages.json": Form(REPODATA, FROM_PACKAGES_ZST, JSON, negotiated=True),
    "run_exports.json.zst": Form(REPODATA, RUN_EXPORTS_ZST, ZSTD),
    "run_exports.json": Form(REPODATA, RUN_EXPORTS_ZST, JSON, negotiated=True),
}
CHANNEL_FORMS = {"channeldata.json": Form(CHANNELDATA, CHANNELDATA_ZST, JSON, negotiated=True)}


class FileGone(Exception):
    """A published file is not there, or not whole; the switch may have flipped meanwhile."""


@dataclass(frozen=True)
class Place:
    """The channel and subdir that a request is about, as far as its index files need it."""

    channel_id: int
    subdir: str
    audience: str
    """Which caches may keep it: ``public`` or ``private`` (RFC 9111, 5.2.2)."""
    created_at: int

    @property
    def revalidated(self) -> str:
        # Clients ask each time and get a 304: whoever has just uploaded sees it at once.
        return f"{self.audience}, max-age=0, must-revalidate"

    @property
    def immutable(self) -> str:
        return f"{self.audience}, max-age={IMMUTABLE_SECONDS}, immutable"


class IndexForms:
    """Makes representations of published files, and keeps the small ones in memory.

    A published name never changes its content, so what is kept stays right. Of each form the
    last state that was asked for is kept, as long as there is room: the least recently used goes.
    """

    def __init__(self, store: ObjectStore, restored_at: int = 0) -> None:
        self._store = store
        self._restored_at = restored_at
        self._kept: OrderedDict[object, tuple[str, Representation]] = OrderedDict()
        """The file that each was made of, by what was asked for."""
        self._bytes = 0
        self._zips = ZippedDocuments(store)
        self._zipping: dict[str, asyncio.Task[bytes | Path]] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def published(
        self, place: Place, form: Form, file: IndexFile, modified: int, accepted: frozenset[str]
    ) -> Representation:
        """Represent a published file.

        Raises:
            FileGone: it is missing or torn.
        """
        encoding = _encoding(form, accepted)
        key = (place, form, encoding)
        if (kept := self._find(key, file.key)) is not None:
            return kept
        if encoding == "gzip" or form.zipped:
            body = await self._gzip_once(file)
        else:
            unpack = form.negotiated and not encoding
            # In a thread: the disk may be slow.
            body = await run_in_threadpool(self._stored, file, unpack=unpack)
        packed = isinstance(body, Path) and form.negotiated and not encoding
        made = Representation(
            body=body,
            size=file.raw_size if packed else _size(body),
            etag=_etag(file.sha256, form, encoding),
            media_type=form.media_type,
            cache_control=place.revalidated,
            modified=modified,
            encoding=encoding,
            negotiated=form.negotiated,
            packed=packed,
        )
        return self._keep(key, file.key, made)

    def empty(self, place: Place, form: Form, accepted: frozenset[str]) -> Representation:
        """Represent the index of a subdir that no package was ever published in."""
        encoding = _encoding(form, accepted)
        key = (place, form, encoding)
        if (kept := self._find(key, "")) is not None:
            return kept
        raw = EMPTY[form.stored](place.subdir, place.created_at)
        stored = compress(raw, LEVEL)
        if form.negotiated:
            body = {"": raw, "gzip": _gzip(raw), "zstd": stored}[encoding]
        else:
            body = _gzip(raw) if form.zipped else stored
        made = Representation(
            body=body,
            size=len(body),
            etag=_etag(sha256(raw).hexdigest(), form, encoding),
            media_type=form.media_type,
            cache_control=place.revalidated,
            # Between a backup and its restore there may have been packages.
            modified=max(place.created_at, self._restored_at),
            encoding=encoding,
            negotiated=form.negotiated,
        )
        return self._keep(key, "", made)

    async def shard(self, place: Place, digest: str) -> Representation:
        """Represent a shard by its hash, whether the present index names it or an older one.

        Raises:
            FileGone: there is none of that hash.
        """
        key = (place.channel_id, place.audience, place.subdir, digest)
        if (kept := self._find(key, digest)) is not None:
            return kept
        switch = Switch(place.channel_id, place.subdir, SHARDS)
        data = await run_in_threadpool(self._store.read_index, shard_key(switch, digest))
        if data is None or sha256(data).hexdigest() != digest:
            raise FileGone(digest)
        made = Representation(
            body=data,
            size=len(data),
            etag=f'"{digest}"'.encode(),
            media_type=ZSTD,
            cache_control=place.immutable,
            modified=place.created_at,
        )
        return self._keep(key, digest, made)

    def _stored(self, file: IndexFile, *, unpack: bool) -> bytes | Path:
        """Return a published file: its bytes, unpacked if they should be, or where it lies."""
        path = self._store.path(parse_index_key(file.key))
        if max(file.size, file.raw_size if unpack else 0) > KEPT_SIZE and path is not None:
            if not path.is_file() or path.stat().st_size != file.size:
                raise FileGone(file.key)
            return path
        data = read_file(self._store, file)
        if data is None:
            raise FileGone(file.key)
        return decompress(data, INDEX_LIMIT) if unpack else data

    async def _gzip_once(self, file: IndexFile) -> bytes | Path:
        """Make the gzip form; all who ask meanwhile wait for the same one."""
        task = self._zipping.get(file.key)
        if task is None:
            task = asyncio.create_task(self._gzip_in_turn(file))
            self._zipping[file.key] = task
            task.add_done_callback(lambda _: self._zipping.pop(file.key))
        return await asyncio.shield(task)  # one client that goes away stops it for no other

    async def _gzip_in_turn(self, file: IndexFile) -> bytes | Path:
        """Make it in a thread, after those of other states of the document: they save most work."""
        turn = self._turns.setdefault(document_of(file), asyncio.Lock())
        async with turn:
            return await run_in_threadpool(self._gzipped, file)

    def _gzipped(self, file: IndexFile) -> bytes | Path:
        """Return the gzip form; of a large file it is made once, and lies beside it."""
        if file.raw_size <= KEPT_SIZE:
            data = read_file(self._store, file)
            if data is None:
                raise FileGone(file.key)
            return _gzip(decompress(data, INDEX_LIMIT))
        try:
            key = self._zips.make(file)
        except TornDocument:
            raise FileGone(file.key) from None
        return self._store.path(key) or self._read(key)

    def _read(self, key: StoreKey) -> bytes:
        data = self._store.read_index(key)
        if data is None:
            raise FileGone(str(key))
        return data

    def _find(self, key: object, source: str) -> Representation | None:
        kept = self._kept.get(key)
        if kept is None or kept[0] != source:
            return None
        self._kept.move_to_end(key)
        return kept[1]

    def _keep(self, key: object, source: str, made: Representation) -> Representation:
        if (kept := self._find(key, source)) is not None:  # another request was quicker
            return kept
        if (former := self._kept.pop(key, None)) is not None:
            self._bytes -= _weight(former[1])
        weight = _weight(made)
        if weight <= KEPT_SIZE + OVERHEAD:
            self._kept[key] = source, made
            self._bytes += weight
            while self._bytes > MEMORY:
                _, (_, dropped) = self._kept.popitem(last=False)
                self._bytes -= _weight(dropped)
        return made


def _weight(made: Representation) -> int:
    return OVERHEAD + (len(made.body) if isinstance(made.body, bytes) else 0)


@lru_cache(256)  # clients send few different ones
def accepted_encodings(value: bytes) -> frozenset[str]:
    """Return those of our encodings that an Accept-Encoding header takes (RFC 9110, 12.5.3)."""
    accepted = set()
    for item in value.decode("latin-1").lower().split(","):
        coding, _, weight = item.strip().partition(";")
        if not _is_zero(weight):
            accepted.add(coding.strip())
    return frozenset(accepted & {"gzip", "zstd"})


def _is_zero(weight: str) -> bool:
    quality = weight.replace(" ", "").removeprefix("q=")
    return bool(quality) and not quality.strip("0.")


def _encoding(form: Form, accepted: frozenset[str]) -> str:
    if not form.negotiated:
        return ""
    return next((coding for coding in ("zstd", "gzip") if coding in accepted), "")


def _etag(digest: str, form: Form, encoding: str) -> bytes:
    # Each representation has its own: conda offers the tag of one form when it asks another.
    if form.negotiated:
        suffix = {"": "-json", "gzip": "-gzip", "zstd": "-zstd"}[encoding]
    else:
        suffix = "-gz" if form.zipped else ""
    return f'"{digest[:32]}{suffix}"'.encode()


def _size(body: bytes | Path) -> int:
    return len(body) if isinstance(body, bytes) else body.stat().st_size


def _gzip(raw: bytes) -> bytes:
    return gzip.compress(raw, GZIP_LEVEL, mtime=0)
