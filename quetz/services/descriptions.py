"""What a package says of itself: the texts of its newest upload that has them, unless yanked."""

import json
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy.orm import Session

from quetz.db.models import Package
from quetz.db.queries import files
from quetz.db.queries.packages import find_again

# Columns of a package, and the keys of info/about.json.
_TEXTS: Final = {"summary": "summary", "description": "description", "url": "home"}


def describe_by_upload(package: Package, about: Mapping[str, Any]) -> None:
    """Let the package say what its latest upload says; what that leaves out stays."""
    for column, key in _TEXTS.items():
        setattr(package, column, about.get(key) or getattr(package, column))


def describe_again(session: Session, package_id: int, about: str) -> None:
    """Choose the texts of a package anew that a file has, or had: it was taken back, or came back.

    ``about`` is what the file says, as JSON; the channel is locked. A text that no file has stays:
    the package was made with it.
    """
    package = find_again(session, package_id)
    changed = json.loads(about)
    left = {column: key for column, key in _TEXTS.items() if changed.get(key)}
    if package is None or not left:
        return
    for other in map(json.loads, files.read_abouts(session, package.id)):
        for column, key in list(left.items()):
            if other.get(key):
                setattr(package, column, other[key])
                del left[column]
        if not left:
            return
    for column, key in left.items():
        if getattr(package, column) == changed[key]:
            setattr(package, column, None)
