"""Notes the license of each file that is uploaded."""

from sqlalchemy.orm import Session

from quetz.plugin_api import File, PackageArchive, hookimpl

from .db_models import License, LicensedFile


@hookimpl
def package_published(session: Session, file: File, archive: PackageArchive) -> None:
    name = archive.index.get("license", "unknown")
    found = session.query(License).filter_by(name=name).one_or_none()
    if found is None:
        found = License(name=name)
        session.add(found)
        session.flush()
    session.merge(LicensedFile(file_id=file.id, license_id=found.id))
