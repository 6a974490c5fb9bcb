"""Descriptions: what a package says of itself, which its files tell.

Its newest version, its platforms, and the texts of its newest upload that has them; files that
were yanked tell nothing. It is kept with the package, for a package may have thousands of files
and stands in lists with many others. Whoever adds, removes or yanks a file calls one of these.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy.orm import Session

from quetz.conda.versions import newest
from quetz.db.models import Package
from quetz.db.queries import files
from quetz.db.queries.packages import find_again, list_builds

# Columns of a package, and the keys of info/about.json.
_TEXTS: Final = {"summary": "summary", "description": "description", "url": "home"}


def describe_by_upload(
    package: Package, subdir: str, version: str, about: Mapping[str, Any]
) -> None:
    """Let the package say what its latest upload says; texts that this leaves out stay.

    The channel is locked.
    """
    package.platforms = " ".join(sorted({*package.platforms.split(), subdir}))
    known = [] if package.current_version is None else [package.current_version]
    package.current_version = newest([version, *known])
    for column, key in _TEXTS.items():
        setattr(package, column, about.get(key) or getattr(package, column))


def describe_again(session: Session, package_id: int, about: str) -> None:
    """Describe the package by the files that it has, after one was taken back or came back.

    ``about`` is what that file says, as JSON; the channel is locked.
    """
    package = find_again(session, package_id)
    if package is None:
        return
    builds = list_builds(session, package_id)
    package.platforms = " ".join(sorted({subdir for subdir, _ in builds}))
    package.current_version = newest({version for _, version in builds}) if builds else None
    _choose_texts(session, package, json.loads(about))


def _choose_texts(session: Session, package: Package, changed: Mapping[str, Any]) -> None:
    """Choose the texts anew that a file has, or had.

    A text that no file has stays: the package was made with it.
    """
    left = {column: key for column, key in _TEXTS.items() if changed.get(key)}
    for other in map(json.loads, files.read_abouts(session, package.id)) if left else ():
        for column, key in list(left.items()):
            if other.get(key):
                setattr(package, column, other[key])
                del left[column]
        if not left:
            return
    for column, key in left.items():
        if getattr(package, column) == changed[key]:
            setattr(package, column, None)
