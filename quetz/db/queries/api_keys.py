"""API keys, their scopes, and when they were last used."""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Row, bindparam, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from quetz.db.models import (
    ApiKey,
    ApiKeyScope,
    Channel,
    ChannelMember,
    Package,
    PackageMember,
    User,
)

# Built once: every request with a key asks it, and building it takes longer than the answer.
_KEY_AND_USER = (
    select(ApiKey, User)
    .join(User, User.id == ApiKey.user_id)
    .where(ApiKey.public_id == bindparam("public_id"))
)


def find_key(session: Session, public_id: str) -> Row[ApiKey, User] | None:
    """Return the key and the user it belongs to, as they are at this moment."""
    return session.execute(
        _KEY_AND_USER, {"public_id": public_id}, execution_options={"populate_existing": True}
    ).one_or_none()


def list_keys(session: Session, user_id: int, *, limit: int) -> list[ApiKey]:
    """Return the user's keys that were not revoked, the newest first."""
    query = (
        select(ApiKey)
        .where(ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
        .order_by(ApiKey.id.desc())
        .limit(limit)
    )
    return list(session.scalars(query))


def count_good_keys(session: Session, user_id: int, now: int) -> int:
    """Count the user's keys that are neither revoked nor, at a time, expired."""
    query = (
        select(func.count())
        .select_from(ApiKey)
        .where(ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
        .where(or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now))
    )
    return session.scalar(query) or 0


def list_scopes(session: Session, key_id: int) -> list[ApiKeyScope]:
    query = select(ApiKeyScope).where(ApiKeyScope.api_key_id == key_id).order_by(ApiKeyScope.id)
    return list(session.scalars(query))


def list_held_scopes(session: Session, key_id: int, user_id: int) -> list[ApiKeyScope]:
    """Return the scopes of a key in whose channel or package the user has some role."""
    in_channel = exists().where(
        ChannelMember.channel_id == ApiKeyScope.channel_id, ChannelMember.user_id == user_id
    )
    in_package = (
        exists()
        .where(PackageMember.user_id == user_id, Package.id == PackageMember.package_id)
        .where(Package.channel_id == ApiKeyScope.channel_id)
        .where(or_(ApiKeyScope.package_id.is_(None), ApiKeyScope.package_id == Package.id))
    )
    query = (
        select(ApiKeyScope)
        .where(ApiKeyScope.api_key_id == key_id, or_(in_channel, in_package))
        .order_by(ApiKeyScope.id)
    )
    return list(session.scalars(query))


def list_scope_names(
    session: Session, key_ids: Sequence[int]
) -> Sequence[Row[int, str, str | None, str]]:
    """Return (key id, channel, package or None, role) of each scope of the keys."""
    query = (
        select(ApiKeyScope.api_key_id, Channel.name, Package.name, ApiKeyScope.role)
        .join(Channel, Channel.id == ApiKeyScope.channel_id)
        .outerjoin(Package, Package.id == ApiKeyScope.package_id)
        .where(ApiKeyScope.api_key_id.in_(key_ids))
        .order_by(ApiKeyScope.id)
    )
    return session.execute(query).all()


def revoke_key(session: Session, key_id: int, at: int) -> bool:
    """Revoke a key at a time; say whether it was not revoked before."""
    query = (
        update(ApiKey)
        .where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None))
        .values(revoked_at=at)
        .returning(ApiKey.id)
    )
    return session.scalar(query) is not None


def lock_key(session: Session, public_id: str) -> ApiKey:
    """Hold a key against being revoked until this transaction ends; SQLite has one writer anyway.

    Return it as it is at this moment.
    """
    query = (
        select(ApiKey)
        .where(ApiKey.public_id == public_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return session.scalars(query).one()


def list_family(session: Session, public_ids: Collection[str]) -> Sequence[Row[int, str]]:
    """Return (id, public id) of keys and of all that were made by them, without those revoked.

    They come by public id, which is the order in which keys are locked everywhere.
    """
    family = select(ApiKey.id).where(ApiKey.public_id.in_(public_ids)).cte(recursive=True)
    family = family.union(select(ApiKey.id).join(family, ApiKey.parent_id == family.c.id))
    query = (
        select(ApiKey.id, ApiKey.public_id)
        .join(family, family.c.id == ApiKey.id)
        .where(ApiKey.revoked_at.is_(None))
        .order_by(ApiKey.public_id)
    )
    return session.execute(query).all()


def list_dead_keys(session: Session, before: int, *, limit: int) -> list[int]:
    """Return ids of keys that ended before a time and have made no key that is still kept."""
    child = aliased(ApiKey)
    query = (
        select(ApiKey.id)
        .where(or_(ApiKey.revoked_at < before, ApiKey.expires_at < before))
        .where(~exists().where(child.parent_id == ApiKey.id))
        .limit(limit)
    )
    return list(session.scalars(query))


def remove_keys(session: Session, key_ids: Sequence[int]) -> None:
    # In one order, as everywhere, or two transactions could lock each other out.
    rows = select(ApiKey.id).where(ApiKey.id.in_(key_ids)).order_by(ApiKey.public_id)
    session.execute(rows.with_for_update()).all()
    session.execute(delete(ApiKey).where(ApiKey.id.in_(key_ids)))


def set_last_used(session: Session, uses: Mapping[str, int]) -> None:
    """Note the time of the last use of each public id, unless a later one is known."""
    if not uses:
        return
    query = (
        update(ApiKey)
        .where(
            ApiKey.public_id == bindparam("key"),
            or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < bindparam("used_at")),
        )
        .values(last_used_at=bindparam("used_at"))
    )
    # In one order everywhere, or two servers that note the same keys could lock each other out.
    rows = [{"key": key, "used_at": uses[key]} for key in sorted(uses)]
    session.connection().execute(query, rows)
