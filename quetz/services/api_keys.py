"""API keys: made, shown once, recognised, revoked.

A key is ``qz-<id>-<secret><crc>``: an id of 16 characters that may be shown, 32 random bytes in
base 62 (43 characters), and the CRC-32 of all before it in base 62 (6 characters), so that a
scanner can tell a key from a look-alike. Other characters than letters, digits and dashes would
break ``/t/<token>/`` in conda's clients.
"""

import hashlib
import hmac
import re
import secrets
import string
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from quetz.db.base import now_ms
from quetz.db.models import ApiKey, ApiKeyScope, Channel, Package, User
from quetz.db.queries import api_keys
from quetz.errors import (
    ApiKeyNotFound,
    ChannelNotFound,
    ExpiryRefused,
    PackageNotFound,
    RoleRequired,
)
from quetz.services.accounts import check_not_above, get_own_account
from quetz.services.events import record_event
from quetz.services.permissions import (
    OPERATOR,
    Operation,
    Principal,
    Role,
    Scope,
    authorize,
    authorize_giving,
    authorize_path,
    find_target,
    principal_of,
)

LISTED_KEYS = 1000
_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_KEY = re.compile(r"qz-([0-9A-Za-z]{16})-([0-9A-Za-z]{43})([0-9A-Za-z]{6})", re.ASCII)


@dataclass(frozen=True)
class NewKey:
    """A key just made: ``key`` is its full text, which is kept nowhere else."""

    key: str
    row: ApiKey


@dataclass(frozen=True)
class NamedScope:
    """A role of a key, by the names of its channel and package."""

    channel: str
    package: str | None
    role: Role


def create_api_key(
    session: Session,
    principal: Principal,
    owner: User,
    *,
    description: str,
    expires_at: int | None,
    scopes: Sequence[Scope] | None,
    read_only: bool = False,
) -> NewKey:
    """Make a key of ``owner``; without scopes it has all his rights.

    ``expires_at`` is in Unix milliseconds. A key made by a key ends no later than that one.

    Raises:
        RoleRequired: a scope is above the owner's own rights, or the caller may not make one.
        ExpiryRefused: the key would be dead at once.
    """
    if principal != OPERATOR:
        authorize(session, principal, Operation.APIKEY_CREATE)
        if principal.user_id != owner.id:
            _authorize_for_another(session, principal, owner)
    for scope in scopes or ():
        _authorize_scope(session, owner, scope)
    public_id = "".join(secrets.choice(_DIGITS) for _ in range(16))
    secret = _base62(secrets.randbits(256), 43)
    row = ApiKey(
        public_id=public_id,
        secret_hash=_digest(secret),
        user_id=owner.id,
        description=description,
        read_only=read_only,
        scoped=scopes is not None,
        expires_at=_expiry(session, principal, expires_at),
    )
    session.add(row)
    session.flush()
    session.add_all(
        ApiKeyScope(
            api_key_id=row.id,
            channel_id=scope.channel_id,
            package_id=scope.package_id,
            role=scope.role,
        )
        for scope in scopes or ()
    )
    record_event(session, principal, Operation.APIKEY_CREATE, subject=public_id)
    session.flush()
    text = f"qz-{public_id}-{secret}"
    return NewKey(text + _checksum(text), row)


def find_scopes(session: Session, principal: Principal, named: Sequence[NamedScope]) -> list[Scope]:
    """Look up the channels and packages that scopes name.

    Raises:
        ChannelNotFound: the caller does not see the channel, or there is none.
        PackageNotFound: the channel has no such package.
    """
    found = []
    for scope in named:
        authorize_path(session, principal, Operation.PACKAGE_READ, scope.channel, scope.package)
        channel, package = find_target(session, scope.channel, scope.package)
        if channel is None:
            raise ChannelNotFound(scope.channel)
        if package is None and scope.package is not None:
            raise PackageNotFound(scope.channel, scope.package)
        found.append(Scope(channel.id, package.id if package else None, scope.role))
    return found


def list_api_keys(
    session: Session, principal: Principal, owner: User | None = None
) -> list[ApiKey]:
    """Return the caller's own keys that were not revoked, the newest first; or a service account's.

    Raises:
        RoleRequired: the caller may not make keys of the account.
    """
    authorize(session, principal, Operation.APIKEY_LIST_OWN)
    if owner is None:
        owner = get_own_account(session, principal)
    elif owner.id != principal.user_id:
        _authorize_for_another(session, principal, owner)
    return api_keys.list_keys(session, owner.id, limit=LISTED_KEYS)


def name_scopes(session: Session, keys: Sequence[ApiKey]) -> dict[str, list[NamedScope] | None]:
    """Return the scopes of keys by public id; None for a key with all rights of its owner."""
    scopes: dict[int, list[NamedScope]] = {key.id: [] for key in keys}
    for key_id, channel, package, role in api_keys.list_scope_names(session, list(scopes)):
        scopes[key_id].append(NamedScope(channel, package, Role(role)))
    return {key.public_id: scopes[key.id] if key.scoped else None for key in keys}


def revoke_api_key(session: Session, principal: Principal, key: str) -> None:
    """Revoke a key by its public id, or by its full text.

    Raises:
        ApiKeyNotFound: there is no such key, or it was revoked before.
        RoleRequired: it is the key of another user, or of one above the caller.
    """
    authorize(session, principal, Operation.APIKEY_REVOKE_OWN)
    parts = _parse(key)
    public_id = parts[0] if parts else key
    found = api_keys.find_key(session, public_id) if public_id.isalnum() else None
    if found is None or found[0].revoked_at is not None:
        raise ApiKeyNotFound
    row, owner = found
    operation = Operation.APIKEY_REVOKE_OWN
    if owner.id != principal.user_id:
        operation = Operation.APIKEY_REVOKE_OTHER
        authorize(session, principal, operation)
        check_not_above(principal, owner, "revoking this API key")
    row.revoked_at = now_ms()
    record_event(session, principal, operation, subject=public_id)
    session.flush()


def authenticate_key(session: Session, text: str) -> Principal | None:
    """Return whose key it is, or None when it is nobody's at present.

    A scoped key with no scope left in a place where its owner has a role is nobody's.
    """
    parts = _parse(text)
    if parts is None:
        return None
    public_id, secret = parts
    found = api_keys.find_key(session, public_id)
    # An unknown id takes the same steps as a wrong secret, so that time does not tell them apart.
    expected = _NO_DIGEST if found is None else found[0].secret_hash
    if not hmac.compare_digest(_digest(secret), expected) or found is None:
        return None
    key, owner = found
    expired = key.expires_at is not None and key.expires_at <= now_ms()
    if expired or key.revoked_at is not None or owner.disabled_at is not None:
        return None
    principal = replace(principal_of(owner), api_key=public_id, read_only=key.read_only)
    if not key.scoped:
        return principal
    if principal.elevated:
        rows = api_keys.list_scopes(session, key.id)
    else:
        rows = api_keys.list_held_scopes(session, key.id, owner.id)
    scopes = tuple(Scope(row.channel_id, row.package_id, Role(row.role)) for row in rows)
    return replace(principal, scopes=scopes) if scopes else None


def touch_keys(session: Session, uses: Mapping[str, int]) -> None:
    """Note when keys, by public id, were last used, in Unix milliseconds."""
    api_keys.set_last_used(session, uses)


def _authorize_for_another(session: Session, principal: Principal, owner: User) -> None:
    """Whoever may make accounts makes the keys of service accounts that are not above himself."""
    deed = "creating an API key of another user"
    if not owner.service:
        raise RoleRequired(deed, "the command line")
    authorize(session, principal, Operation.USERS_CREATE)
    check_not_above(principal, owner, deed)


def _authorize_scope(session: Session, owner: User, scope: Scope) -> None:
    channel = session.get_one(Channel, scope.channel_id)
    package = None if scope.package_id is None else session.get_one(Package, scope.package_id)
    authorize_giving(session, principal_of(owner), scope.role, channel, package)


def _expiry(session: Session, principal: Principal, wanted: int | None) -> int | None:
    """Return when a new key ends: as wanted, and no later than the key that makes it."""
    if wanted is not None and wanted <= now_ms():
        raise ExpiryRefused("it would have expired already")
    parent = api_keys.find_key(session, principal.api_key) if principal.api_key else None
    ends = [wanted, parent[0].expires_at if parent else None]
    return min((end for end in ends if end is not None), default=None)


def _parse(text: str) -> tuple[str, str] | None:
    """Split a key into id and secret; None when it is malformed or its checksum is wrong."""
    match = _KEY.fullmatch(text)
    if match is None or _checksum(text[:-6]) != match[3]:
        return None
    return match[1], match[2]


def _checksum(text: str) -> str:
    return _base62(zlib.crc32(text.encode()), 6)


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


def _digest(secret: str) -> str:
    """Hash a secret; a fast hash is right for 256 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


_NO_DIGEST = _digest("")
