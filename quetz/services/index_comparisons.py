"""Comparing the published index of a switch with what the database says, record by record."""

import gzip
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256

import msgspec
from sqlalchemy.orm import Session

from quetz.conda.channeldata import channeldata_texts
from quetz.conda.filenames import name_of_file
from quetz.conda.pieces import Fetch, NameOf, Table, TornDocument, contents, fragments
from quetz.conda.shards import decode_shard_index, encode_shard
from quetz.conda.zstd import BadFrame, decompress, unpack
from quetz.db.queries.files import list_subdirs
from quetz.db.queries.index import list_names
from quetz.errors import ObjectMissing
from quetz.plugins import Plugins
from quetz.services.index_builds import INDEX_LIMIT
from quetz.services.index_documents import fragments_of, read_entries, reading, texts_of
from quetz.services.index_names import gzip_key
from quetz.services.index_records import NameRecords, may_differ, read_names
from quetz.services.publishing import (
    CHANNELDATA,
    CHANNELDATA_ZST,
    FROM_PACKAGES_ZST,
    REPODATA_ZST,
    RUN_EXPORTS_ZST,
    SHARD_INDEX,
    SHARDS,
    Files,
    IndexFile,
    Switch,
    read_file,
    read_table,
    shard_key,
)
from quetz.storage import ObjectStore
from quetz.storage.keys import parse_index_key

_READ_AT_ONCE = 1 << 20


class Differences:
    """How many names an index shows otherwise than the database, and where the first is.

    Names in ``marked`` do not count: their changes wait to be published.
    """

    def __init__(self, marked: Collection[str]) -> None:
        self._marked = marked
        self.count = 0
        self.first = ""

    def note(self, form: str, name: str) -> None:
        if name not in self._marked:
            self.count += 1
            self.first = self.first or f"'{name}' in {form}"

    def note_whole(self, form: str) -> None:
        self.count += 1
        self.first = self.first or f"{form} as a whole"

    def note_texts(self, form: str) -> None:
        """Note what the document says of all: a change of any name may change that."""
        if not self._marked:
            self.note_whole(form)


@dataclass(frozen=True)
class Index:
    """The published files of a switch, beside the state of the database that ``session`` sees."""

    session: Session
    store: ObjectStore
    plugins: Plugins
    switch: Switch
    files: Files


def compare_index(index: Index, marked: Collection[str]) -> Differences:
    """Compare the files of a switch with the records; ``marked`` are the names of its marks.

    One piece of each document is in memory at a time.

    Raises:
        TornDocument, BadFrame, MsgspecError: a file is not what it should be.
    """
    found = Differences(marked)
    compare = {SHARDS: _compare_shards, CHANNELDATA: _compare_channeldata}
    compare.get(index.switch.family, _compare_documents)(index, found)
    return found


def _compare_shards(index: Index, found: Differences) -> None:
    data = read_file(index.store, index.files[SHARD_INDEX])
    if data is None:
        raise TornDocument
    left = decode_shard_index(decompress(data, INDEX_LIMIT))
    for read in read_names(index.session, index.plugins, index.switch, None):
        digest = left.pop(read.name, None)
        if digest is None or not _is_shard_of(index.store, index.switch, digest, read):
            found.note("its shard", read.name)
    for name in left:
        found.note("the shard index", name)


def _is_shard_of(store: ObjectStore, switch: Switch, digest: bytes, read: NameRecords) -> bool:
    data = store.read_index(shard_key(switch, digest.hex()))
    if data is None or sha256(data).digest() != digest:
        return False
    said, expected = decompress(data, INDEX_LIMIT), encode_shard(read.shown, read.removed)
    return said == expected or msgspec.msgpack.decode(said) == msgspec.msgpack.decode(expected)


def _compare_documents(index: Index, found: Differences) -> None:
    files, switch = index.files, index.switch
    shown = {form: files[form] for form in (REPODATA_ZST, RUN_EXPORTS_ZST)}
    if may_differ(index.session, index.plugins, switch) or FROM_PACKAGES_ZST in files:
        # Without a document of its own it is the same as repodata.json.
        shown[FROM_PACKAGES_ZST] = files.get(FROM_PACKAGES_ZST, files[REPODATA_ZST])
    with ExitStack() as opened:
        readers = {}
        for form, file in shown.items():
            reader = _Reader(index.store, opened, file, name_of_file, form=form, found=found)
            reader.compare_texts(texts_of(switch.subdir, form))
            readers[form] = reader
        for read in read_names(index.session, index.plugins, switch, None):
            for form, reader in readers.items():
                reader.compare(read.name, fragments_of(read, form))
        for reader in readers.values():
            reader.finish()


def _compare_channeldata(index: Index, found: Differences) -> None:
    session, channel_id = index.session, index.switch.channel_id
    subdirs = list_subdirs(session, channel_id)
    names = list_names(session, channel_id)
    with ExitStack() as opened:
        form = CHANNELDATA_ZST
        reader = _Reader(index.store, opened, index.files[form], str, form=form, found=found)
        reader.compare_texts(channeldata_texts(subdirs))
        for name, entry in read_entries(session, channel_id, subdirs, names):
            reader.compare(name, [entry])
        reader.finish()


class _Reader:
    """Reads a document beside the records that it should show, both by name."""

    def __init__(
        self,
        store: ObjectStore,
        opened: ExitStack,
        file: IndexFile,
        name_of: NameOf,
        *,
        form: str,
        found: Differences,
    ) -> None:
        table = read_table(store, file)
        if table is None:
            raise TornDocument
        self._form, self._found, self._table = form, found, table
        fetch = opened.enter_context(reading(store, file))
        if not _unpacks_to(store, file, table, fetch):
            found.note_whole(form)
        self._sections = fragments(table, fetch, name_of)
        self._next = [next(section, None) for section in self._sections]

    def compare_texts(self, texts: Sequence[bytes]) -> None:
        if tuple(texts) != self._table.texts:
            self._found.note_texts(self._form)

    def compare(self, name: str, expected: Sequence[bytes]) -> None:
        """Compare what the sections say of a name; names come in their order."""
        said = [self._take(number, name) for number in range(len(expected))]
        if not all(map(_is_same, said, expected)):
            self._found.note(self._form, name)

    def finish(self) -> None:
        for number in range(len(self._sections)):
            self._pass(number, None)

    def _take(self, number: int, name: str) -> bytes:
        self._pass(number, name)
        entry = self._next[number]
        if entry is None or entry[0] != name:
            return b""
        self._next[number] = next(self._sections[number], None)
        return entry[1]

    def _pass(self, number: int, name: str | None) -> None:
        """Pass over names before ``name``, which the database does not have."""
        while (entry := self._next[number]) is not None and (name is None or entry[0] < name):
            self._found.note(self._form, entry[0])
            self._next[number] = next(self._sections[number], None)


def _is_same(said: bytes, expected: bytes) -> bool:
    """Compare members of an object, or items of an array, however they are written."""
    if said == expected:
        return True
    for form in (b"{%s}", b"[%s]"):
        try:
            return bool(msgspec.json.decode(form % said) == msgspec.json.decode(form % expected))
        except msgspec.DecodeError:
            continue
    return False


def _unpacks_to(store: ObjectStore, file: IndexFile, table: Table, fetch: Fetch) -> bool:
    """Tell whether each form of the file unpacks, as one frame, to what its pieces are."""
    expected = _digest(contents(table, fetch))
    with store.open_file(parse_index_key(file.key)) as opened:
        if _digest(unpack(opened, file.size, INDEX_LIMIT)) != expected:
            return False
    try:
        zipped = store.open_file(gzip_key(file.key))
    except ObjectMissing:
        return True  # nobody has asked for it yet
    with zipped, gzip.open(zipped) as stream:
        try:
            return _digest(iter(lambda: stream.read(_READ_AT_ONCE), b"")) == expected
        except (OSError, EOFError, zlib.error):
            return False


def _digest(parts: Iterator[bytes]) -> bytes:
    digest = sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()


FAULTS = (TornDocument, BadFrame, msgspec.MsgspecError, ObjectMissing, KeyError)
"""What ``compare_index`` raises of files that are not what they should be."""
