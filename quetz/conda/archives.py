"""Reading what an uploaded package says of itself (CEP 34, CEP 35)."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from quetz.conda.contents import describe, read_run_exports
from quetz.conda.faults import Fault
from quetz.conda.filenames import PackageFilename
from quetz.conda.index_json import check_index
from quetz.conda.strict_json import BadJson, decode_strictly, values_in
from quetz.conda.unpacking import Info, read_info
from quetz.errors import BadArchive

# "[]," takes three bytes of a document, and more than sixty of memory. Real ones have hundreds.
_MOST_VALUES: Final = 20_000


@dataclass(frozen=True)
class PackageArchive:
    """What a channel takes over from a package.

    ``index`` is ``info/index.json`` with each field kept, ``run_exports`` maps kinds to match
    specifications (``{"weak": ["zlib >=1.2"]}``), ``about`` is what channeldata tells.
    """

    filename: PackageFilename
    subdir: str
    index: dict[str, Any]
    run_exports: dict[str, Any]
    about: dict[str, Any]

    def weigh(self) -> int:
        """Return how many bytes of memory it takes, at most."""
        documents = [self.index, self.run_exports, self.about]
        return sum(sys.getsizeof(value) for value in values_in(documents))


def read_archive(path: Path, filename: str) -> PackageArchive:
    """Read the package in the file ``path``, which is meant to be called ``filename``.

    The payload is not unpacked: a ``.conda`` costs the same at any size.

    Raises:
        BadFilename: ``filename`` is none of a package.
        BadArchive: the file is broken, unsafe, or says something else than its name.
    """
    parts = PackageFilename.parse(filename)
    with path.open("rb") as file:
        return read_opened_archive(file, parts)


def read_opened_archive(file: BinaryIO, filename: PackageFilename) -> PackageArchive:
    """Read a package as ``read_archive`` does, of a file that may be in memory.

    Raises:
        BadArchive: as ``read_archive``.
    """
    try:
        return _interpret(read_info(file, filename), filename)
    except Fault as fault:
        raise BadArchive(str(filename), fault.field, fault.reason) from None


def _interpret(info: Info, filename: PackageFilename) -> PackageArchive:
    documents = info.documents
    index = check_index(_decode(documents, "index.json"), filename)
    if info.flags is None:
        raise Fault("info/paths.json", "is missing")
    return PackageArchive(
        filename=filename,
        subdir=index["subdir"],
        index=index,
        about=describe(_decode(documents, "about.json", absent={}), info.flags),
        run_exports=read_run_exports(_decode(documents, "run_exports.json", absent={})),
    )


def _decode(documents: dict[str, bytes], name: str, absent: Any = None) -> Any:
    if name not in documents:
        if absent is not None:
            return absent
        raise Fault(f"info/{name}", "is missing")
    try:
        document = decode_strictly(documents[name])
    except BadJson as error:
        raise Fault(f"info/{name}", str(error)) from None
    # A value takes two bytes at least, with the comma behind it.
    may_hold_too_many = len(documents[name]) > 2 * _MOST_VALUES
    if may_hold_too_many and sum(1 for _ in values_in(document)) > _MOST_VALUES:
        raise Fault(f"info/{name}", f"holds more than {_MOST_VALUES} values")
    return document
