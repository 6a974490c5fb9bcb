"""``run_exports.json`` (CEP 12)."""

from collections.abc import Iterable
from typing import Final

from quetz.conda.texts import encode_json, join_by_format, join_object

# Named as in ``info/index.json``, where an architecture is what Python calls the machine.
_MACHINES: Final = {"64": "x86_64", "32": "x86"}


def encode_run_exports(subdir: str, files: Iterable[tuple[str, str]]) -> bytes:
    """Return the run_exports of ``subdir``, the files in the order given.

    ``files`` are (file name, run_exports as JSON text), ``{}`` for a package without any.
    """
    platform, _, machine = subdir.partition("-")
    about = {
        "arch": _MACHINES.get(machine, machine or platform),
        "platform": platform,
        "subdir": subdir,
        "version": 0,
    }
    exports = ((filename, f'{{"run_exports":{text}}}') for filename, text in files)
    return join_object([("info", encode_json(about)), *join_by_format(exports)]).encode()
