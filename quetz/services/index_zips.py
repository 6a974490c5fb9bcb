"""The gzip form of a published document: made when it is first asked for, then spliced."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from quetz.conda.gzip_members import Zipped, zip_parts
from quetz.conda.pieces import Fetch, Span, Table, TornDocument
from quetz.crashpoints import crashpoint
from quetz.errors import ObjectMissing
from quetz.services.index_documents import reading
from quetz.services.index_names import gzip_key
from quetz.services.publishing import IndexFile, read_table
from quetz.storage import ObjectStore, Slice, StoreKey
from quetz.storage.keys import parse_index_key

_NOTHING = Zipped()


@dataclass(frozen=True)
class _ZippedFile:
    key: StoreKey
    size: int | None
    form: Zipped


def document_of(file: IndexFile) -> str:
    """Name the document that a published file is a state of."""
    folder, _, name = file.key.rpartition("/")
    return f"{folder}/{name.partition('-')[0]}"


class ZippedDocuments:
    """Makes gzip forms, each from the one that this process made before of the same document."""

    REMEMBERED = 32

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._before: OrderedDict[str, _ZippedFile] = OrderedDict()

    def make(self, file: IndexFile) -> StoreKey:
        """Return where the gzip form of ``file`` lies. One at a time of each document, please.

        Raises:
            TornDocument: the file is missing, or not what it should be.
        """
        table = read_table(self._store, file)
        if table is None:
            raise TornDocument
        key = gzip_key(file.key)
        document = document_of(file)
        before = self._before.get(document)
        if before is not None and self._store.size(before.key) != before.size:
            before = None  # gone, or made by another server, whose zlib may be another
        with reading(self._store, file) as fetch:
            try:
                form = self._write(key, table, fetch, before)
            except ObjectMissing:  # it went meanwhile
                form = self._write(key, table, fetch, None)
        crashpoint("gzip.written")
        if self._store.size(parse_index_key(file.key)) is None:
            self._store.delete_index(key)  # who collected the file found no gzip form beside it
            raise TornDocument
        self._before.pop(document, None)  # so that it comes last; other threads may be here, too
        self._before[document] = _ZippedFile(key, self._store.size(key), form)
        while len(self._before) > self.REMEMBERED:
            self._before.popitem(last=False)
        return key

    def _write(
        self, key: StoreKey, table: Table, fetch: Fetch, before: _ZippedFile | None
    ) -> Zipped:
        made = Zipped()

        def parts() -> Iterator[bytes | Slice]:
            for part in zip_parts(table, fetch, before.form if before else _NOTHING, made):
                if isinstance(part, Span):
                    assert before is not None
                    yield Slice(before.key, part.start, part.end)
                else:
                    yield part

        self._store.write_index(key, parts())
        return made
