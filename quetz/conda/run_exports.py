"""``run_exports.json`` (CEP 12)."""

from collections.abc import Iterable
from typing import Final

from quetz.conda.texts import encode_json, join_by_format, join_sections

# Named as in ``info/index.json``, where an architecture is what Python calls the machine.
_MACHINES: Final = {"64": "x86_64", "32": "x86"}


def run_exports_texts(subdir: str) -> tuple[bytes, bytes, bytes]:
    """Return the texts around the two sections of a document (``quetz.conda.pieces``)."""
    platform, _, machine = subdir.partition("-")
    about = {
        "arch": _MACHINES.get(machine, machine or platform),
        "platform": platform,
        "subdir": subdir,
        "version": 0,
    }
    opening = f'{{"info":{encode_json(about)},"packages":{{'.encode()
    return opening, b'},"packages.conda":{', b"}}"


def run_exports_fragments(files: Iterable[tuple[str, str]]) -> tuple[bytes, bytes]:
    """Return what the two sections say of one name.

    ``files`` are (file name, run_exports as JSON text), ``{}`` for a package without any.
    """
    return join_by_format((filename, f'{{"run_exports":{text}}}') for filename, text in files)


def encode_run_exports(subdir: str, files: Iterable[tuple[str, str]]) -> bytes:
    """Return the run_exports of ``subdir``, the files in the order given."""
    return join_sections(run_exports_texts(subdir), run_exports_fragments(files))
