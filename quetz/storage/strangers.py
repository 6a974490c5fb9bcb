"""What does not belong into a store on local disk, or is open to others."""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from quetz.errors import BadName
from quetz.storage.keys import StoreKey

_FOLDER = re.compile(
    r"objects(/[0-9a-f]{2})?|index(/[1-9][0-9]{0,18}(/[a-z0-9_-]+)?)?|staging(/.+)?|quarantine"
)
_ASIDE = re.compile(r"quarantine/[0-9a-f]{64}-[0-9]+")
_WRITABLE = "everybody on this machine may write to it"
_LINK = "it is a link, or no plain file"
_UNKNOWN = "nothing of quetz has this name"


def find_strangers(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (path below the store, what is wrong), for each file and folder that is strange.

    What goes meanwhile is passed over.
    """
    if path.stat().st_mode & stat.S_IWOTH:
        yield ".", _WRITABLE
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            entries = os.scandir(path / folder)
        except FileNotFoundError:
            continue
        with entries:
            for entry in entries:
                name = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    folders.append(name)
                if reason := _fault(name, entry):
                    yield name, reason


def _fault(name: str, entry: os.DirEntry[str]) -> str:
    try:
        mode = entry.stat(follow_symlinks=False).st_mode
    except FileNotFoundError:
        return ""
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return _LINK
    if mode & stat.S_IWOTH:
        return _WRITABLE
    if stat.S_ISDIR(mode):
        return "" if _FOLDER.fullmatch(name) else _UNKNOWN
    if name.startswith("staging/") or _ASIDE.fullmatch(name):
        return ""
    return "" if _is_key(name) else _UNKNOWN


def _is_key(name: str) -> bool:
    try:
        StoreKey(name)
    except BadName:
        return False
    return True
