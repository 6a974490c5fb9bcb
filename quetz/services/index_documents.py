"""Building the documents of an index: from those before, of which most pieces are kept."""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from itertools import groupby
from operator import itemgetter

from sqlalchemy.orm import Session

from quetz.conda.channeldata import channeldata_fragment, channeldata_texts, encode_entry
from quetz.conda.filenames import name_of_file
from quetz.conda.pieces import (
    Builder,
    Document,
    Fetch,
    NameOf,
    Span,
    TornDocument,
    exchange,
    improvable_size,
    improve,
    splice,
)
from quetz.conda.repodata import repodata_fragments, repodata_texts
from quetz.conda.run_exports import run_exports_fragments, run_exports_texts
from quetz.db.queries import index as queries
from quetz.db.queries.files import list_subdirs
from quetz.errors import ObjectMissing
from quetz.plugins import Plugins
from quetz.services.index_records import (
    NAMES_AT_ONCE,
    Entry,
    NameRecords,
    may_differ,
    read_names,
)
from quetz.services.publishing import (
    CHANNELDATA_ZST,
    FROM_PACKAGES_ZST,
    REPODATA_ZST,
    RUN_EXPORTS_ZST,
    Batch,
    Built,
    Files,
    IndexFile,
    discard,
    keys_of,
    new_key,
    read_table,
)
from quetz.storage import ObjectStore, Slice
from quetz.storage.keys import parse_index_key

MOST_NAMES = 4_000
"""Of more names that changed, what is in memory meanwhile would be too much: all is built anew."""

WORTH_IT = 4
"""A document is compressed again when at least this part of it can be: a quarter."""

_log = logging.getLogger("quetz.publisher")


class _Draft:
    """A document while it is built: from the one before, or anew."""

    def __init__(
        self, store: ObjectStore, before: IndexFile | None, *, sections: int, name_of: NameOf
    ) -> None:
        self._store = store
        self._before = before
        self._name_of = name_of
        self._table = read_table(store, before)
        self._builder = Builder(sections)
        self._changes: list[dict[str, bytes]] = [{} for _ in range(sections)]

    @property
    def is_new(self) -> bool:
        return self._table is None

    @property
    def has_lost_its_table(self) -> bool:
        return self._table is None and self._before is not None and self._before.table is not None

    def start_anew(self) -> None:
        self._table = None

    def put(self, name: str, fragments: Sequence[bytes]) -> None:
        """Say anew of one name what each section says of it."""
        for section, fragment in enumerate(fragments):
            if self._table is None:
                self._builder.add(section, name, fragment)
            else:
                self._changes[section][name] = fragment

    def write(self, batch: Batch, form: str, texts: Sequence[bytes]) -> IndexFile:
        """Store the document; where nothing changed, return the one before.

        Raises:
            TornDocument: the one before is not what it should be.
        """
        document = self._finish(texts)
        if self._before is not None and document.table == self._table:
            return self._before
        if document.plain_pieces:
            _log.error(
                "%d pieces of %s of %s are kept uncompressed: what the compressor made of them "
                "could not be unpacked",
                document.plain_pieces,
                form,
                batch.switch,
            )
        return store_document(self._store, batch, form, document, self._before)

    def _finish(self, texts: Sequence[bytes]) -> Document:
        if self._table is None or self._before is None:
            return self._builder.finish(texts)
        with reading(self._store, self._before) as fetch:
            return splice(self._table, fetch, texts, self._changes, self._name_of)


@contextmanager
def reading(store: ObjectStore, file: IndexFile) -> Iterator[Fetch]:
    """Open a published file to read some of its bytes.

    Raises:
        TornDocument: it is gone.
    """
    try:
        opened = store.open_file(parse_index_key(file.key))
    except ObjectMissing:
        raise TornDocument from None
    with opened:

        def fetch(start: int, size: int) -> bytes:
            opened.seek(start)
            return opened.read(size)

        yield fetch


def store_document(
    store: ObjectStore, batch: Batch, form: str, document: Document, before: IndexFile | None
) -> IndexFile:
    """Write a document and its table; its spans are of the file ``before``.

    Raises:
        TornDocument: that file is gone, or too short.
    """
    stem = form.partition(".")[0]
    source = None if before is None else parse_index_key(before.key)
    size = 0
    parts: list[bytes | Slice] = []
    for part in document.parts:
        size += part.end - part.start if isinstance(part, Span) else len(part)
        if isinstance(part, Span):
            assert source is not None
            parts.append(Slice(source, part.start, part.end))
        else:
            parts.append(part)
    key, table_key = new_key(batch, stem, ".json.zst"), new_key(batch, stem, ".pieces")
    table = document.table.encode()
    store.write_index(table_key, table)
    try:
        store.write_index(key, parts)
    except BaseException as error:
        store.delete_index(table_key)
        if isinstance(error, ObjectMissing):
            raise TornDocument from None
        raise
    digest = sha256(table).hexdigest()
    return IndexFile(str(key), size, digest, document.table.raw_size, str(table_key))


@contextmanager
def _all_or_none(store: ObjectStore, batch: Batch) -> Iterator[Files]:
    """Collect the files of a build; when one fails, nobody else knows of those before it."""
    files: Files = {}
    try:
        yield files
    except BaseException:
        discard(store, batch, Built(files, [], []))
        raise


def build_repodata(session: Session, store: ObjectStore, plugins: Plugins, batch: Batch) -> Built:
    """Build repodata.json and run_exports.json, and what repodata was before it was changed.

    The last is a document of its own only where something changes records; until then it is
    the same as repodata.json.

    Raises:
        TornDocument: a file before is not what it should be.
    """
    switch, files = batch.switch, batch.files
    forms = [REPODATA_ZST, RUN_EXPORTS_ZST]
    before = {form: files.get(form) for form in forms}
    if FROM_PACKAGES_ZST in files or may_differ(session, plugins, switch):
        forms.append(FROM_PACKAGES_ZST)
        before[FROM_PACKAGES_ZST] = files.get(FROM_PACKAGES_ZST, files.get(REPODATA_ZST))
    sections = {REPODATA_ZST: 3, RUN_EXPORTS_ZST: 2, FROM_PACKAGES_ZST: 3}
    drafts = {
        form: _Draft(store, before[form], sections=sections[form], name_of=name_of_file)
        for form in forms
    }
    names = _names_to_read(batch, drafts.values())
    for read in read_names(session, plugins, switch, names):
        for form, draft in drafts.items():
            draft.put(read.name, fragments_of(read, form))
    texts = {form: texts_of(switch.subdir, form) for form in forms}
    with _all_or_none(store, batch) as made:
        for form in forms:
            made[form] = drafts[form].write(batch, form, texts[form])
    return _built(batch, made)


def fragments_of(read: NameRecords, form: str) -> Sequence[bytes]:
    """Return what the sections of a form of a subdir's index say of one name."""
    if form == RUN_EXPORTS_ZST:
        return run_exports_fragments([(name, exports) for name, _, exports in read.shown])
    if form == FROM_PACKAGES_ZST:
        return repodata_fragments(_records(read.uploaded), read.yanked)
    return repodata_fragments(_records(read.shown), read.removed)


def texts_of(subdir: str, form: str) -> Sequence[bytes]:
    """Return the texts around the sections of a form of a subdir's index."""
    return run_exports_texts(subdir) if form == RUN_EXPORTS_ZST else repodata_texts(subdir)


def improve_documents(
    store: ObjectStore, files: Files, go_on: Callable[[], bool]
) -> dict[bytes, bytes]:
    """Compress the documents better of which a good part can be; return new pieces by digest.

    A new file is new to all clients, who have the same content already: a small gain is none.

    Raises:
        TornDocument: a file is not what it should be.
    """
    better: dict[bytes, bytes] = {}
    for file in files.values():
        table = read_table(store, file)
        if table is not None and improvable_size(table) * WORTH_IT > file.size:
            with reading(store, file) as fetch:
                better |= improve(table, fetch, go_on)
    return better


def exchange_pieces(store: ObjectStore, batch: Batch, better: Mapping[bytes, bytes]) -> Built:
    """Store the documents of a switch with the pieces that ``improve_documents`` returned.

    Raises:
        TornDocument: a file is not what it should be.
    """
    with _all_or_none(store, batch) as made:
        for form, file in batch.files.items():
            table = read_table(store, file)
            if table is None:
                raise TornDocument
            document = exchange(table, better)
            same = document.table == table
            made[form] = file if same else store_document(store, batch, form, document, file)
    return _built(batch, made)


def build_channeldata(
    session: Session, store: ObjectStore, _plugins: Plugins, batch: Batch
) -> Built:
    """Build channeldata.json.

    Raises:
        TornDocument: the file before is not what it should be.
    """
    channel_id = batch.switch.channel_id
    subdirs = list_subdirs(session, channel_id)
    draft = _Draft(store, batch.files.get(CHANNELDATA_ZST), sections=1, name_of=str)
    names = _names_to_read(batch, [draft])
    if names is None:
        names = queries.list_names(session, channel_id)
    for name, entry in read_entries(session, channel_id, subdirs, names):
        draft.put(name, [entry])
    new = draft.write(batch, CHANNELDATA_ZST, channeldata_texts(subdirs))
    return _built(batch, {CHANNELDATA_ZST: new})


def read_entries(
    session: Session, channel_id: int, subdirs: Sequence[str], names: Sequence[str]
) -> Iterator[tuple[str, bytes]]:
    """Yield each of ``names`` with what channeldata.json says of it, which may be nothing."""
    for first in range(0, len(names), NAMES_AT_ONCE):
        some = names[first : first + NAMES_AT_ONCE]
        rows = queries.list_channeldata_of_names(session, channel_id, subdirs, some)
        found = {name: list(group) for name, group in groupby(rows, key=itemgetter(0))}
        for name in some:
            files = [(row[1], row[2], row[3], row[4]) for row in found.get(name, [])]
            yield name, channeldata_fragment(name, encode_entry(files)) if files else b""


def _names_to_read(batch: Batch, drafts: Collection[_Draft]) -> list[str] | None:
    """Return the names to put into the drafts; None for all, and the drafts begin anew then.

    Raises:
        TornDocument: a file before should have a table, and it is missing or torn.
    """
    names = batch.names
    if names is not None and any(draft.has_lost_its_table for draft in drafts):
        raise TornDocument
    if names is not None and len(names) <= MOST_NAMES and not any(d.is_new for d in drafts):
        return names
    for draft in drafts:
        draft.start_anew()
    return None


def _records(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    return [(filename, record) for filename, record, _ in entries]


def _built(batch: Batch, files: Files) -> Built:
    replaced = set(keys_of(batch.files)) - set(keys_of(files))
    return Built(files, [], sorted(replaced))
