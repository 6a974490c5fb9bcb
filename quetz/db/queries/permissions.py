"""What a request is aimed at, looked up by the names in its path."""

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from quetz.db.models import Channel, Package


def find_target(
    session: Session, channel_name: str, package_name: str | None
) -> tuple[Channel | None, Package | None]:
    """Look up a channel, by its normal name, and a package of it in one query."""
    if package_name is None:
        return session.scalar(select(Channel).where(Channel.name == channel_name)), None
    query = (
        select(Channel, Package)
        .outerjoin(Package, and_(Package.channel_id == Channel.id, Package.name == package_name))
        .where(Channel.name == channel_name)
    )
    row = session.execute(query).one_or_none()
    return (None, None) if row is None else (row[0], row[1])
