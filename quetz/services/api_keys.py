"""API keys: made, shown once, recognised, revoked."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sqlalchemy.orm import Session

from quetz.db.base import now_ms
from quetz.db.models import ApiKey, ApiKeyScope, Channel, Package, User
from quetz.db.queries import api_keys
from quetz.db.queries.users import lock_user
from quetz.errors import (
    ApiKeyNotFound,
    ChannelNotFound,
    ExpiryRefused,
    LoginRequired,
    PackageNotFound,
    RoleRequired,
)
from quetz.errors.api_keys import TooManyKeys, VerbRequired
from quetz.services.accounts import check_not_above, get_own_account
from quetz.services.authentication import find_by_secret, renew_principal
from quetz.services.events import record_event
from quetz.services.key_texts import digest, key_text, new_key_parts, parse_key
from quetz.services.permissions import (
    OPERATOR,
    Operation,
    Principal,
    Role,
    Scope,
    Verb,
    authorize,
    authorize_giving,
    authorize_path,
    find_target,
    principal_of,
)
from quetz.settings.sections import Keys

LISTED_KEYS = 1000
_DAY = 86_400_000  # milliseconds
DEAD_KEPT = 365 * _DAY
REMOVED_AT_ONCE = 500
_EPOCH = date(1970, 1, 1).toordinal()


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
    verbs: Collection[Verb] | None = None,
) -> NewKey:
    """Make a key of ``owner``; without scopes and verbs it has all his rights.

    ``expires_at`` is in Unix milliseconds. A key made by a key ends no later than that one, has no
    verb that that one lacks, and is revoked with it if that one leaks.

    Raises:
        RoleRequired: a scope is above the owner's own rights, or the caller may not make one.
        VerbRequired: the key that makes it lacks a verb that it is to have.
        ExpiryRefused: the key would be dead at once.
        TooManyKeys: the owner has as many as can be listed.
    """
    if principal != OPERATOR:
        principal = _authorize_making(session, principal, owner)
    for scope in scopes or ():
        _authorize_scope(session, owner, scope)
    parent = _find_maker(session, principal)
    if api_keys.count_good_keys(session, owner.id, now_ms()) >= LISTED_KEYS:
        raise TooManyKeys(owner.username, LISTED_KEYS)
    public_id, secret = new_key_parts()
    row = ApiKey(
        public_id=public_id,
        secret_hash=digest(secret),
        user_id=owner.id,
        parent_id=parent.id if parent else None,
        description=description,
        read_only=read_only,
        scoped=scopes is not None,
        verbs=_verbs_text(principal, verbs),
        expires_at=_expiry(parent, expires_at),
    )
    session.add(row)
    session.flush()
    _add_scopes(session, row, scopes or ())
    record_event(session, principal, Operation.APIKEY_CREATE, subject=public_id)
    session.flush()
    return NewKey(key_text(public_id, secret), row)


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
        _authorize_for_another(session, principal, owner, Operation.USERS_LIST_ALL)
    return list_keys_of(session, owner)


def list_keys_of(session: Session, owner: User) -> list[ApiKey]:
    """Return the user's keys that were not revoked, the newest first."""
    return api_keys.list_keys(session, owner.id, limit=LISTED_KEYS)


def default_last_day(rules: Keys) -> date | None:
    """Return the last day of a key whose maker names none; None for ever."""
    days = min((days for days in (rules.default_days, rules.max_days) if days), default=None)
    return None if days is None else _today() + timedelta(days=days)


def end_of_life(rules: Keys, last_day: date | None) -> int | None:
    """Return when a key that is good to the end of a day ends, in Unix milliseconds.

    Raises:
        ExpiryRefused: the server's keys may not last so long.
    """
    if rules.max_days:
        latest = _today() + timedelta(days=rules.max_days)
        if last_day is None or last_day > latest:
            reason = f"API keys of this server last {rules.max_days} days at most, until {latest}"
            raise ExpiryRefused(reason)
    return None if last_day is None else end_of_day(last_day)


def end_of_day(day: date) -> int:
    """Return the first millisecond after a day; of any day, where datetime would overflow."""
    return (day.toordinal() - _EPOCH + 1) * _DAY


def day_of(milliseconds: int) -> date:
    """Return the day, in UTC, of a time in Unix milliseconds."""
    return date.fromordinal(_EPOCH + milliseconds // _DAY)


def last_day(key: ApiKey) -> date | None:
    return None if key.expires_at is None else day_of(key.expires_at - 1)


def name_scopes(session: Session, keys: Sequence[ApiKey]) -> dict[str, list[NamedScope] | None]:
    """Return the scopes of keys by public id; None for a key with all rights of its owner."""
    scopes: dict[int, list[NamedScope]] = {key.id: [] for key in keys}
    for key_id, channel, package, role in api_keys.list_scope_names(session, list(scopes)):
        scopes[key_id].append(NamedScope(channel, package, Role(role)))
    return {key.public_id: scopes[key.id] if key.scoped else None for key in keys}


def revoke_api_key(session: Session, principal: Principal, key: str) -> str:
    """Revoke a key by its public id, or by its full text, and return its public id.

    Raises:
        ApiKeyNotFound: there is no such key, or it was revoked before.
        RoleRequired: it is the key of another user, or of one above the caller.
    """
    authorize(session, principal, Operation.APIKEY_REVOKE_OWN)
    parts = parse_key(key)
    public_id = parts[0] if parts else key
    found = api_keys.find_key(session, public_id) if public_id.isalnum() else None
    if found is None or found[0].revoked_at is not None:
        raise ApiKeyNotFound
    row, owner = found
    operation = _authorize_revoking(session, principal, owner)
    if not api_keys.revoke_key(session, row.id, now_ms()):
        raise ApiKeyNotFound  # somebody else was quicker
    record_event(session, principal, operation, subject=public_id)
    session.flush()
    return public_id


def find_leaked(session: Session, texts: Collection[str]) -> list[str]:
    """Return the public ids of the keys that the texts are, or that were made by these.

    Those revoked before are left out, but not what was made by them.
    A text that is nobody's key takes the same steps as one of a wrong secret.
    """
    parts = {found for text in texts if (found := parse_key(text)) is not None}
    keys = [find_by_secret(session, *found) for found in sorted(parts)]
    leaked = [found[0].public_id for found in keys if found]
    return [public_id for _, public_id in api_keys.list_family(session, leaked)] if leaked else []


def revoke_leaked(session: Session, principal: Principal, public_ids: Sequence[str]) -> None:
    """Revoke keys that somebody found where they should not be, and all that were made by them.

    Who has a key may revoke it. Whoever had it before may have made others by it.
    """
    operation = Operation.APIKEY_REVOKE_LEAKED
    authorize(session, principal, operation)
    # Again and again: one may just have made another, which is seen once the first is locked.
    while family := api_keys.list_family(session, public_ids):
        for key_id, public_id in family:
            if api_keys.revoke_key(session, key_id, now_ms()):
                record_event(session, principal, operation, subject=public_id, after="leaked")
    session.flush()


def list_forgotten(session: Session, *, now: int) -> list[int]:
    """Return some keys that are kept no longer, as ``remove_keys`` takes them.

    A key that has made others stays as long as they do: if it leaked, they are revoked by it.
    """
    return api_keys.list_dead_keys(session, now - DEAD_KEPT, limit=REMOVED_AT_ONCE)


def remove_keys(session: Session, key_ids: Sequence[int]) -> None:
    """Remove keys for good; the audit log still names them."""
    api_keys.remove_keys(session, key_ids)


def touch_keys(session: Session, uses: Mapping[str, int]) -> None:
    """Note when keys, by public id, were last used, in Unix milliseconds."""
    api_keys.set_last_used(session, uses)


def _authorize_making(session: Session, principal: Principal, owner: User) -> Principal:
    """Return the caller as he is; another's account keeps its role until this transaction ends.

    Whoever gives it a higher one looks for keys that were made before.
    """
    authorize(session, principal, Operation.APIKEY_CREATE)
    if principal.user_id == owner.id:
        return principal
    lock_user(session, owner)
    principal = renew_principal(session, principal)
    _authorize_for_another(session, principal, owner, Operation.USERS_CREATE)
    return principal


def _authorize_for_another(
    session: Session, principal: Principal, owner: User, operation: Operation
) -> None:
    """Whoever may make accounts makes the keys of service accounts that are not above himself."""
    deed = "creating an API key of another user"
    if not owner.service:
        raise RoleRequired(deed, "the command line")
    authorize(session, principal, operation)
    check_not_above(principal, owner, deed)


def _add_scopes(session: Session, key: ApiKey, scopes: Sequence[Scope]) -> None:
    session.add_all(
        ApiKeyScope(
            api_key_id=key.id,
            channel_id=scope.channel_id,
            package_id=scope.package_id,
            role=scope.role,
        )
        for scope in scopes
    )


def _authorize_revoking(session: Session, principal: Principal, owner: User) -> Operation:
    """Return the operation that revoking a key of ``owner`` is."""
    if owner.id == principal.user_id:
        return Operation.APIKEY_REVOKE_OWN
    authorize(session, principal, Operation.APIKEY_REVOKE_OTHER)
    check_not_above(principal, owner, "revoking this API key")
    return Operation.APIKEY_REVOKE_OTHER


def _authorize_scope(session: Session, owner: User, scope: Scope) -> None:
    channel = session.get_one(Channel, scope.channel_id)
    package = None if scope.package_id is None else session.get_one(Package, scope.package_id)
    authorize_giving(session, principal_of(owner), scope.role, channel, package)


def _find_maker(session: Session, principal: Principal) -> ApiKey | None:
    """Return the key that makes a key; whoever revokes it waits, to find what it has made.

    Raises:
        LoginRequired: it was revoked meanwhile.
    """
    if principal.api_key is None:
        return None
    key = api_keys.lock_key(session, principal.api_key)
    if key.revoked_at is not None:
        raise LoginRequired
    return key


def _expiry(parent: ApiKey | None, wanted: int | None) -> int | None:
    """Return when a new key ends: as wanted, and no later than the key that makes it."""
    if wanted is not None and wanted <= now_ms():
        raise ExpiryRefused("it would have expired already")
    ends = [wanted, parent.expires_at if parent else None]
    return min((end for end in ends if end is not None), default=None)


def _verbs_text(principal: Principal, wanted: Collection[Verb] | None) -> str | None:
    """Return the verbs of a new key: as wanted, and none that the key that makes it lacks."""
    if wanted is None:
        wanted = principal.verbs
    if wanted is None:
        return None
    for verb in wanted:
        if not principal.has(verb):
            raise VerbRequired("making an API key that has it", verb)
    return " ".join(verb for verb in Verb if verb in wanted)


def _today() -> date:
    return datetime.now(UTC).date()
