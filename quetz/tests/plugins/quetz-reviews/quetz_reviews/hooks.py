"""Asks for a review of each license that comes in."""

from quetz_licenses.db_models import LicensedFile
from sqlalchemy.orm import Session

from quetz.plugin_api import File, hookimpl

from .db_models import Review


@hookimpl(trylast=True)  # after the plugin that notes the license
def package_published(session: Session, file: File) -> None:
    license_id = session.get_one(LicensedFile, file.id).license_id
    if session.get(Review, license_id) is None:
        session.add(Review(license_id=license_id))
