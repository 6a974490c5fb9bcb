"""Who may do what: who asks, what he asks for, and whether the table allows it."""

from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, true
from sqlalchemy.orm import Session

from quetz.conda.names import check_package_name, normal_channel_name
from quetz.db.models import Channel, Package, User
from quetz.db.queries import members, permissions
from quetz.errors import (
    BadName,
    ChannelHidden,
    ChannelNotFound,
    LoginRequired,
    QuetzError,
    RoleRequired,
)
from quetz.errors.api_keys import VerbRequired
from quetz.services.operations import RULES, Operation, Place, Role, Rule, Takes, Verb

__all__ = [
    "ANONYMOUS",
    "OPERATOR",
    "Operation",
    "Principal",
    "Role",
    "Scope",
    "Verb",
    "authorize",
    "authorize_giving",
    "authorize_path",
    "find_target",
    "may_read_channel",
    "principal_of",
    "visible_channels",
    "visible_packages",
]


@dataclass(frozen=True)
class Scope:
    """A role that a scoped API key may use: in a channel, or in one package of it."""

    channel_id: int
    package_id: int | None
    role: Role


@dataclass(frozen=True)
class Principal:
    """Who asks, and by what credential.

    ``scopes`` is None for a credential with all rights of its user; otherwise the rights are
    the scopes' as far as the user has them at present. A ``read_only`` credential reads what
    its user may read as a member, and changes nothing. ``verbs`` are the kinds of deeds that
    the credential is good for, None for all; what everyone may do it may do all the same.
    """

    user_id: int | None
    username: str
    server_role: Role | None
    api_key: str | None = None  # its public id
    scopes: tuple[Scope, ...] | None = None
    read_only: bool = False
    address: str | None = None
    verbs: frozenset[Verb] | None = None
    login: str | None = field(default=None, repr=False, compare=False)  # the hash of a cookie

    @property
    def known(self) -> bool:
        return self.user_id is not None

    @property
    def unlimited(self) -> bool:
        """The credential has every right of its user, as far as its verbs go."""
        return self.known and self.scopes is None and not self.read_only

    def has(self, verb: Verb) -> bool:
        """The credential is good for deeds of this kind."""
        return self.verbs is None or verb in self.verbs

    @property
    def elevated(self) -> bool:
        """The user passes every check of a role in a channel or package."""
        return self.server_role is not None and self.server_role >= Role.MAINTAINER


ANONYMOUS = Principal(user_id=None, username="anonymous", server_role=None)

# Who works at the server's own command line, and could change the database just as well: every
# authorisation lets this one object pass. No request is ever made by it.
OPERATOR = Principal(user_id=None, username="operator", server_role=Role.OWNER)


def principal_of(user: User) -> Principal:
    """Return the user himself, with all his rights."""
    return Principal(user.id, user.username, Role(user.role) if user.role else None)


def authorize(
    session: Session,
    principal: Principal,
    operation: Operation,
    channel: Channel | None = None,
    package: Package | None = None,
) -> None:
    """Return if the caller may do ``operation``, and raise if not.

    Raises:
        ChannelHidden: an anonymous caller does not see the channel.
        ChannelNotFound: a known caller does not see it; as if there were none.
        LoginRequired: an anonymous caller sees it and may not do the deed.
        RoleRequired: a known caller sees it and may not do the deed.
        VerbRequired: the caller might, but not with this API key.
    """
    rule = RULES[operation]
    if principal is OPERATOR:
        return
    if channel is None:
        if rule.place is not Place.SERVER:
            raise TypeError(f"'{operation}' is done to a channel")
        _judge(principal, rule, None)
        if rule.takes is not Takes.NOTHING:
            _check_verb(principal, rule)
    elif operation is Operation.FILE_UPLOAD_ANY:
        _authorize_any_upload(session, principal, rule, channel)
    else:
        _authorize_in_channel(session, principal, rule, channel, package)


def authorize_path(
    session: Session,
    principal: Principal,
    operation: Operation,
    channel_name: str | None,
    package_name: str | None,
) -> Channel | None:
    """Do as ``authorize``, by the names in a request's path; return the channel that it names.

    A channel that does not exist is answered as one that the caller does not see. A package
    that does not exist is left to the service, which knows what its absence means.

    Raises:
        ChannelHidden, ChannelNotFound, LoginRequired, RoleRequired, VerbRequired: as
            ``authorize``.
    """
    if channel_name is None:
        authorize(session, principal, operation)
        return None
    channel, package = find_target(session, channel_name, package_name)
    if channel is None:
        raise _hidden(principal, channel_name)
    authorize(session, principal, operation, channel, package)
    return channel


def find_target(
    session: Session, channel_name: str, package_name: str | None
) -> tuple[Channel | None, Package | None]:
    """Look a channel and its package up; a malformed name is one that nothing has."""
    try:
        channel_name = normal_channel_name(channel_name)
    except BadName:
        return None, None
    try:
        if package_name is not None:
            check_package_name(package_name)
    except BadName:
        package_name = None
    return permissions.find_target(session, channel_name, package_name)


def authorize_giving(
    session: Session,
    principal: Principal,
    role: Role,
    channel: Channel,
    package: Package | None = None,
) -> None:
    """Return if the caller has ``role`` himself: nobody gives a right that he has not.

    Raises:
        ChannelHidden, ChannelNotFound, LoginRequired, RoleRequired, VerbRequired: as
            ``authorize``.
    """
    if principal is OPERATOR:
        return
    place = Place.CHANNEL if package is None else Place.PACKAGE
    rule = Rule(f"giving the role {role}", place, Takes.ROLE, role)
    _authorize_in_channel(session, principal, rule, channel, package)


def may_read_channel(session: Session, principal: Principal, channel: Channel) -> bool:
    if not channel.private:
        return True
    return principal.has(Verb.READ) and _role(session, principal, channel) is not None


def visible_channels(principal: Principal) -> ColumnElement[bool]:
    """Return the condition on ``Channel`` that the caller may list it."""
    if principal is OPERATOR:
        return true()
    if not principal.has(Verb.READ):
        return members.channels_seen(None, all_private=False, only=None)
    only = None
    if principal.scopes is not None:
        only = [scope.channel_id for scope in principal.scopes if scope.package_id is None]
    return members.channels_seen(principal.user_id, all_private=principal.elevated, only=only)


def visible_packages(principal: Principal) -> ColumnElement[bool]:
    """Return the condition on ``Channel`` and ``Package`` that the caller may read the package."""
    if principal is OPERATOR:
        return true()
    if not principal.has(Verb.READ):
        return members.packages_seen(None, all_private=False, only=None)
    only = None
    if principal.scopes is not None:
        channels = [scope.channel_id for scope in principal.scopes if scope.package_id is None]
        packages = [scope.package_id for scope in principal.scopes if scope.package_id is not None]
        only = channels, packages
    return members.packages_seen(principal.user_id, all_private=principal.elevated, only=only)


def _authorize_in_channel(
    session: Session, principal: Principal, rule: Rule, channel: Channel, package: Package | None
) -> None:
    if rule.takes is Takes.NOTHING and not channel.private:
        return
    if rule.place is not Place.PACKAGE:
        package = None
    role = _role(session, principal, channel, package, enough=rule.role)
    if channel.private and role is None:
        raise _hidden(principal, channel.name)
    if rule.in_channel is not None:
        whole = _role(session, principal, channel)
        if whole is not None and whole >= rule.in_channel:
            _check_verb(principal, rule)
            return
    _judge(principal, rule, role)
    _check_verb(principal, rule)


def _authorize_any_upload(
    session: Session, principal: Principal, rule: Rule, channel: Channel
) -> None:
    """Refuse at once whom FILE_UPLOAD would refuse in one way whatever the files' names are."""
    role = _role(session, principal, channel)
    if role is None or role < rule.role:
        some = _role_in_some_package(session, principal, channel)
        if some is not None and (some >= rule.role or (channel.private and role is None)):
            _check_verb(principal, rule)
            return
    if channel.private and role is None:
        raise _hidden(principal, channel.name)
    _judge(principal, rule, role)
    _check_verb(principal, rule)


def _judge(principal: Principal, rule: Rule, role: Role | None) -> None:
    """Raise unless a caller with ``role`` in the rule's place may do the rule's deed."""
    if rule.takes is Takes.SERVER_ROLE:
        role = principal.server_role if principal.unlimited else None
    allowed = {
        Takes.NOTHING: True,
        Takes.LOGIN: principal.known,
        Takes.BROWSER: principal.known and principal.api_key is None,
        Takes.UNLIMITED: principal.unlimited,
        Takes.SERVER_ROLE: role is not None and role >= rule.role,
        Takes.ROLE: role is not None and role >= rule.role,
    }[rule.takes]
    if allowed:
        return
    if not principal.known:
        raise LoginRequired
    limits = "" if principal.unlimited else "; this credential is scoped or read-only"
    raise RoleRequired(rule.deed, rule.needed + limits)


def _check_verb(principal: Principal, rule: Rule) -> None:
    if not principal.has(rule.verb):
        raise VerbRequired(rule.deed, rule.verb)


def _hidden(principal: Principal, channel_name: str) -> QuetzError:
    known = principal.known or principal is OPERATOR
    return ChannelNotFound(channel_name) if known else ChannelHidden()


def _role(
    session: Session,
    principal: Principal,
    channel: Channel,
    package: Package | None = None,
    *,
    enough: Role = Role.MEMBER,
) -> Role | None:
    """Return the role that the caller may use in the channel or package.

    Once the role in the channel is ``enough``, that in the package is not looked up.
    """
    if principal.user_id is None:
        return None
    held = _role_of_user(session, principal, channel)
    if package is not None and (held is None or held < enough):
        other = members.find_package_role(session, principal.user_id, package.id)
        held = _highest(held, _as_role(other))
    places = {None} if package is None else {None, package.id}
    scopes = [
        scope.role
        for scope in principal.scopes or ()
        if scope.channel_id == channel.id and scope.package_id in places
    ]
    return _limited(principal, held, scopes)


def _role_in_some_package(session: Session, principal: Principal, channel: Channel) -> Role | None:
    """Return the highest role that the caller may use in any package of the channel."""
    if principal.user_id is None:
        return None
    roles = members.list_package_roles(session, principal.user_id, channel.id)
    held = _highest(_role_of_user(session, principal, channel), *map(Role, roles))
    scopes = [s.role for s in principal.scopes or () if s.channel_id == channel.id]
    return _limited(principal, held, scopes)


def _role_of_user(session: Session, principal: Principal, channel: Channel) -> Role | None:
    """Return the role that the caller's user has in the channel, by whatever credential."""
    if principal.user_id is None:
        return None
    if principal.elevated:
        return Role.OWNER
    return _as_role(members.find_channel_role(session, principal.user_id, channel.id))


def _limited(principal: Principal, held: Role | None, scopes: list[Role]) -> Role | None:
    """Return what the credential leaves of the role that its user holds."""
    granted = _highest(*scopes) if principal.scopes is not None else Role.OWNER
    if held is None or granted is None:
        return None
    return min(held, granted, Role.MEMBER if principal.read_only else Role.OWNER)


def _highest(*roles: Role | None) -> Role | None:
    return max((role for role in roles if role is not None), default=None)


def _as_role(text: str | None) -> Role | None:
    return None if text is None else Role(text)
