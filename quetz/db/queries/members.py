"""The roles of users in channels and packages; those of deleted users count nowhere."""

from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, Row, delete, false, func, or_, select, true
from sqlalchemy.orm import Session

from quetz.db.models import Channel, ChannelMember, Package, PackageMember, User
from quetz.db.queries.windows import Window


def find_channel_role(session: Session, user_id: int, channel_id: int) -> str | None:
    return session.scalar(
        select(ChannelMember.role).where(
            ChannelMember.channel_id == channel_id, ChannelMember.user_id == user_id
        )
    )


def find_package_role(session: Session, user_id: int, package_id: int) -> str | None:
    return session.scalar(
        select(PackageMember.role).where(
            PackageMember.package_id == package_id, PackageMember.user_id == user_id
        )
    )


def list_package_roles(session: Session, user_id: int, channel_id: int) -> list[str]:
    """Return each role, at most once, that the user has in some package of the channel."""
    query = (
        select(PackageMember.role)
        .distinct()
        .join(Package, Package.id == PackageMember.package_id)
        .where(PackageMember.user_id == user_id, Package.channel_id == channel_id)
        .order_by(PackageMember.role)
    )
    return list(session.scalars(query))


def list_package_members(session: Session, package_id: int) -> Sequence[Row[User, str]]:
    """Return (user, role) by username."""
    query = (
        select(User, PackageMember.role)
        .join(PackageMember, PackageMember.user_id == User.id)
        .where(PackageMember.package_id == package_id, User.disabled_at.is_(None))
        .order_by(User.username)
    )
    return session.execute(query).all()


def add_package_role(session: Session, user_id: int, package_id: int, role: str) -> None:
    session.add(PackageMember(package_id=package_id, user_id=user_id, role=role))


def remove_package_role(session: Session, user_id: int, package_id: int) -> None:
    session.execute(
        delete(PackageMember).where(
            PackageMember.package_id == package_id, PackageMember.user_id == user_id
        )
    )


def channels_of(user_id: int) -> ColumnElement[bool]:
    """Return the condition on ``Channel`` that the user has a role in it."""
    return Channel.id.in_(select(ChannelMember.channel_id).where(ChannelMember.user_id == user_id))


def packages_of(user_id: int) -> ColumnElement[bool]:
    """Return the condition on ``Package`` that the user has a role in it, or in its channel."""
    in_channel = select(ChannelMember.channel_id).where(ChannelMember.user_id == user_id)
    in_package = select(PackageMember.package_id).where(PackageMember.user_id == user_id)
    return or_(Package.channel_id.in_(in_channel), Package.id.in_(in_package))


def packages_seen(
    user_id: int | None,
    *,
    all_private: bool,
    only: tuple[Collection[int], Collection[int]] | None,
) -> ColumnElement[bool]:
    """Return the condition on ``Channel`` and ``Package`` that the user sees the package.

    ``all_private`` shows what is in private channels without a role in them; ``only`` narrows
    that to whole channels and to single packages, given by their ids.
    """
    if user_id is None:
        private: ColumnElement[bool] = false()
    else:
        private = true() if all_private else packages_of(user_id)
    if only is not None:
        channels, packages = only
        private = private & or_(Package.channel_id.in_(channels), Package.id.in_(packages))
    return or_(~Channel.private, private)


def channels_seen(
    user_id: int | None, *, all_private: bool, only: Collection[int] | None
) -> ColumnElement[bool]:
    """Return the condition on ``Channel`` that the user sees it.

    ``all_private`` shows private channels without a role in them; ``only`` narrows the private
    ones to some ids.
    """
    if user_id is None:
        private: ColumnElement[bool] = false()
    else:
        private = true() if all_private else channels_of(user_id)
    if only is not None:
        private = private & Channel.id.in_(only)
    return or_(~Channel.private, private)


def list_channel_members(session: Session, channel_id: int) -> Sequence[Row[User, str]]:
    """Return (user, role) by username."""
    query = (
        select(User, ChannelMember.role)
        .join(ChannelMember, ChannelMember.user_id == User.id)
        .where(ChannelMember.channel_id == channel_id, User.disabled_at.is_(None))
        .order_by(User.username)
    )
    return session.execute(query).all()


def count_channel_members(session: Session, channel_id: int, *, role: str | None = None) -> int:
    """Return how many members the channel has, or how many in one role."""
    query = (
        select(func.count())
        .select_from(ChannelMember)
        .join(User, User.id == ChannelMember.user_id)
        .where(ChannelMember.channel_id == channel_id, User.disabled_at.is_(None))
    )
    if role is not None:
        query = query.where(ChannelMember.role == role)
    return session.scalar(query) or 0


def set_channel_role(session: Session, user_id: int, channel_id: int, role: str) -> None:
    session.merge(ChannelMember(channel_id=channel_id, user_id=user_id, role=role))


def remove_channel_role(session: Session, user_id: int, channel_id: int) -> None:
    session.execute(
        delete(ChannelMember).where(
            ChannelMember.channel_id == channel_id, ChannelMember.user_id == user_id
        )
    )


def list_channels_of(
    session: Session, user_id: int, seen: ColumnElement[bool], window: Window
) -> Sequence[Row[Channel, str]]:
    """Return (channel, role) by name; ``seen`` is the condition that the caller sees one."""
    query = (
        select(Channel, ChannelMember.role)
        .join(ChannelMember, ChannelMember.channel_id == Channel.id)
        .where(ChannelMember.user_id == user_id, seen)
        .order_by(Channel.name)
    )
    return session.execute(window.of(query)).all()


def count_channels_of(session: Session, user_id: int, seen: ColumnElement[bool]) -> int:
    query = (
        select(func.count())
        .select_from(Channel)
        .join(ChannelMember, ChannelMember.channel_id == Channel.id)
        .where(ChannelMember.user_id == user_id, seen)
    )
    return session.scalar(query) or 0


def list_packages_of(
    session: Session, user_id: int, seen: ColumnElement[bool], window: Window
) -> Sequence[Row[Package, Channel, str]]:
    """Return (package, channel, role) by both names; ``seen`` is a condition on the two."""
    query = (
        select(Package, Channel, PackageMember.role)
        .join(PackageMember, PackageMember.package_id == Package.id)
        .join(Channel, Channel.id == Package.channel_id)
        .where(PackageMember.user_id == user_id, seen)
        .order_by(Channel.name, Package.name)
    )
    return session.execute(window.of(query)).all()


def count_packages_of(session: Session, user_id: int, seen: ColumnElement[bool]) -> int:
    query = (
        select(func.count())
        .select_from(Package)
        .join(PackageMember, PackageMember.package_id == Package.id)
        .join(Channel, Channel.id == Package.channel_id)
        .where(PackageMember.user_id == user_id, seen)
    )
    return session.scalar(query) or 0
