"""Who asks: the principal of an API key, and what has become of him since."""

import hmac
from dataclasses import replace

from sqlalchemy import Row
from sqlalchemy.orm import Session

from quetz.db.base import now_ms
from quetz.db.models import ApiKey, User
from quetz.db.queries import api_keys, users
from quetz.errors import LoginRequired
from quetz.services.key_texts import digest, parse_key
from quetz.services.permissions import Principal, Role, Scope, Verb, principal_of
from quetz.services.sessions import find_login

_NO_DIGEST = digest("")


def authenticate_key(session: Session, text: str) -> Principal | None:
    """Return whose key it is, or None when it is nobody's at present.

    A scoped key with no scope left in a place where its owner has a role is nobody's.
    """
    parts = parse_key(text)
    found = None if parts is None else find_by_secret(session, *parts)
    return None if found is None else _principal_of_key(session, *found)


def renew_principal(session: Session, principal: Principal) -> Principal:
    """Return the caller with the rights that he still has.

    What a request found out when it came may be no longer so after it has waited for a lock.

    Raises:
        LoginRequired: his account, his key or his login is no longer good for anything.
    """
    if principal.user_id is None:
        return principal
    current = _find_again(session, principal, principal.user_id)
    if current is None:
        raise LoginRequired
    read_only = current.read_only or principal.read_only  # as a token in the URL is
    return replace(current, read_only=read_only, address=principal.address)


def _find_again(session: Session, principal: Principal, user_id: int) -> Principal | None:
    if principal.api_key is not None:
        found = api_keys.find_key(session, principal.api_key)
        return None if found is None else _principal_of_key(session, *found)
    if principal.login is not None:
        return find_login(session, principal.login)
    user = users.find_again(session, user_id)
    return None if user is None or user.disabled_at is not None else principal_of(user)


def _principal_of_key(session: Session, key: ApiKey, owner: User) -> Principal | None:
    if has_expired(key) or key.revoked_at is not None or owner.disabled_at is not None:
        return None
    verbs = verbs_of(key)
    principal = replace(
        principal_of(owner),
        api_key=key.public_id,
        read_only=key.read_only,
        verbs=None if verbs is None else frozenset(verbs),
    )
    if not key.scoped:
        return principal
    if principal.elevated:
        rows = api_keys.list_scopes(session, key.id)
    else:
        rows = api_keys.list_held_scopes(session, key.id, owner.id)
    scopes = tuple(Scope(row.channel_id, row.package_id, Role(row.role)) for row in rows)
    return replace(principal, scopes=scopes) if scopes else None


def find_by_secret(session: Session, public_id: str, secret: str) -> Row[ApiKey, User] | None:
    found = api_keys.find_key(session, public_id)
    # An unknown id takes the same steps as a wrong secret, so that time does not tell them apart.
    expected = _NO_DIGEST if found is None else found[0].secret_hash
    return found if hmac.compare_digest(digest(secret), expected) else None


def verbs_of(key: ApiKey) -> list[Verb] | None:
    """Return what kinds of deeds a key is good for; None for all."""
    if key.verbs is None:
        return None
    named = key.verbs.split()
    return [verb for verb in Verb if verb in named]


def has_expired(key: ApiKey) -> bool:
    return key.expires_at is not None and key.expires_at <= now_ms()
