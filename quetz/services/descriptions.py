"""Descriptions: what a package says of itself, which its files tell.

It is kept with the package, for a package may have thousands of files and stands in lists with
many others. Whoever changes its files or their yanks calls one of these, with the channel locked.
"""

from sqlalchemy.orm import Session

from quetz.conda.versions import newest
from quetz.db.models import Package
from quetz.db.queries.packages import list_builds


def add_build(package: Package, subdir: str, version: str) -> None:
    """Let a package tell of a file that it has now."""
    package.platforms = " ".join(sorted({*package.platforms.split(), subdir}))
    known = [] if package.current_version is None else [package.current_version]
    package.current_version = newest([version, *known])


def look_at_builds(session: Session, package_id: int) -> None:
    """Let a package tell of the files that it has left."""
    package = session.get_one(Package, package_id, populate_existing=True)
    builds = list_builds(session, package_id)
    package.platforms = " ".join(sorted({subdir for subdir, _ in builds}))
    package.current_version = newest({version for _, version in builds}) if builds else None
