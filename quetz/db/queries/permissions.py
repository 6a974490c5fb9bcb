"""What a request is aimed at, looked up by the names in its path."""

from sqlalchemy import and_, bindparam, select
from sqlalchemy.orm import Session

from quetz.db.models import Channel, Package

# Built once: most requests ask them, and building one takes longer than SQLite takes to answer.
_CHANNEL = select(Channel).where(Channel.name == bindparam("channel"))
_CHANNEL_AND_PACKAGE = (
    select(Channel, Package)
    .outerjoin(
        Package, and_(Package.channel_id == Channel.id, Package.name == bindparam("package"))
    )
    .where(Channel.name == bindparam("channel"))
)


def find_target(
    session: Session, channel_name: str, package_name: str | None
) -> tuple[Channel | None, Package | None]:
    """Look up a channel, by its normal name, and a package of it in one query."""
    if package_name is None:
        return session.scalar(_CHANNEL, {"channel": channel_name}), None
    names = {"channel": channel_name, "package": package_name}
    row = session.execute(_CHANNEL_AND_PACKAGE, names).one_or_none()
    return (None, None) if row is None else (row[0], row[1])
