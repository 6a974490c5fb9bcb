"""Identities: the accounts of those who log in by a provider, and the roles listed for them."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from quetz.conda.names import USERNAME_LENGTH, username_like
from quetz.db.models import Identity, User
from quetz.db.queries.users import find_user, find_user_by_provider, find_user_of
from quetz.errors import BadName, ChannelExists, UserExists
from quetz.services.accounts import NewUser, add_user, set_role
from quetz.services.channels import NewChannel, create_channel
from quetz.services.events import record_event
from quetz.services.permissions import OPERATOR, Operation, Principal, Role, principal_of
from quetz.services.texts import UNSTORABLE
from quetz.settings import Settings
from quetz.settings.sections import Users

_BY_SUBJECT = "sub:"


@dataclass(frozen=True)
class Login:
    """Who logs in, as the provider vouches for him.

    ``subject`` is the provider's own, unchanging id of the person; ``username`` is what he is
    called there, which may change and pass on to another.
    """

    provider: str
    subject: str
    username: str
    name: str = ""
    avatar_url: str = ""
    address: str | None = None


def find_or_make_account(session: Session, login: Login, settings: Settings) -> User:
    """Return the user of an identity, who is made at its first login.

    A new user has the role that ``[users]`` lists for his subject, else for his username if
    nobody of the provider came by it before, else the ``default_role``.
    His default channel is not made if its name is taken or breaks the rule of channel names.

    Raises:
        BadName: no database can store the subject.
    """
    if UNSTORABLE.search(login.subject):  # changed, it could be another's
        raise BadName("identity", login.subject, "no NUL, and no half of a surrogate pair")
    user = find_user_of(session, login.provider, login.subject)
    if user is not None:
        return user
    try:
        with session.begin_nested():
            user = _add_user(session, login, settings.users)
            session.add(Identity(user_id=user.id, provider=login.provider, subject=login.subject))
    except IntegrityError:  # he logs in twice at once
        user = find_user_of(session, login.provider, login.subject)
        if user is None:
            raise
        return user
    own = replace(principal_of(user), address=login.address)
    record_event(session, own, Operation.USERS_CREATE, subject=user.username, after=user.role)
    if settings.users.create_default_channel:
        _add_default_channel(session, own, settings.quotas.channel_quota)
    session.flush()
    return user


def listed_roles(users: Users) -> dict[tuple[str, str], Role]:
    """Return the highest role listed for each (provider, username or ``sub:<subject>``)."""
    lists = {
        Role.MEMBER: users.members,
        Role.MAINTAINER: users.maintainers,
        Role.OWNER: users.admins,
    }
    roles = {}
    for role, entries in lists.items():  # a later, higher one replaces a lower one
        for entry in entries:
            provider, _, username = entry.partition(":")
            roles[provider, username] = role
    return roles


def give_listed_roles(session: Session, users: Users) -> list[str]:
    """Give users the roles that ``[users]`` lists, where they have none or a lower default one.

    Return the entries, ``provider:username`` or ``provider:sub:<subject>``, that name nobody.
    """
    unknown = []
    for (provider, named), role in listed_roles(users).items():
        user = _find_listed(session, provider, named)
        if user is None:
            unknown.append(f"{provider}:{named}")
        elif user.role is None or (role > user.role and user.role == users.default_role):
            set_role(session, OPERATOR, user.username, role)
    return unknown


def _find_listed(session: Session, provider: str, named: str) -> User | None:
    if not named.startswith(_BY_SUBJECT):
        return find_user_by_provider(session, provider, named)
    if UNSTORABLE.search(provider + named):
        return None
    return find_user_of(session, provider, named.removeprefix(_BY_SUBJECT))


def _add_user(session: Session, login: Login, users: Users) -> User:
    roles = listed_roles(users)
    default = None if users.default_role is None else Role(users.default_role)
    listed = roles.get((login.provider, _BY_SUBJECT + login.subject))
    named = roles.get((login.provider, login.username))
    if login.username.startswith(_BY_SUBJECT):  # such an entry names the subject of another
        named = None
    role = listed or named or default
    name, avatar_url = login.name or login.username, login.avatar_url
    profile = NewUser("", role, UNSTORABLE.sub("", name), UNSTORABLE.sub("", avatar_url))
    for username in _names(login):
        try:
            return add_user(session, replace(profile, username=username))
        except BadName:
            continue
        except UserExists:
            if _may_have_come_so(session, login.provider, username):
                profile = replace(profile, role=listed or default)
    raise AssertionError("numbers end")


def _may_have_come_so(session: Session, provider: str, username: str) -> bool:
    """Say whether whoever has this name may be called by the provider as one who comes now.

    Whoever came before by the same name has one of those that the later one finds taken, for no
    name becomes free. Of a deleted user nobody knows any more how he logged in.
    """
    user = find_user(session, username)
    deleted = user is not None and user.disabled_at is not None
    return deleted or find_user_by_provider(session, provider, username) is not None


def _names(login: Login) -> Iterator[str]:
    """Yield what to call a user: ``alice``, ``alice@github``, ``alice@github-2`` and so on.

    One who is not called what the provider calls him is called what it calls nobody, so that
    ``[users]`` cannot list him for another.
    """
    yield login.username
    near, provider = username_like(login.username), username_like(login.provider)
    for number in count(1):
        ending = f"@{provider}" if number == 1 else f"@{provider}-{number}"
        yield near[: max(1, USERNAME_LENGTH - len(ending))] + ending


def _add_default_channel(session: Session, own: Principal, quota: int | None) -> None:
    with suppress(BadName, ChannelExists):
        create_channel(session, own, NewChannel(own.username), quota=quota)
