"""Every deed that can be allowed or refused, and the rule of each."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """A role on the server, in a channel or in a package; ordered: member < maintainer < owner."""

    MEMBER = "member"
    MAINTAINER = "maintainer"
    OWNER = "owner"

    # Without these four, roles would compare as text does, where "maintainer" < "member".
    def __lt__(self, other: str) -> bool:
        return _RANK[self] < _RANK[Role(other)]

    def __le__(self, other: str) -> bool:
        return _RANK[self] <= _RANK[Role(other)]

    def __gt__(self, other: str) -> bool:
        return _RANK[self] > _RANK[Role(other)]

    def __ge__(self, other: str) -> bool:
        return _RANK[self] >= _RANK[Role(other)]


_RANK = {role: rank for rank, role in enumerate(Role)}


class Operation(StrEnum):
    """Every deed that can be allowed or refused; each route declares one."""

    LIST_CHANNELS = "list.channels"
    CHANNEL_READ = "channel.read"
    CHANNEL_DOWNLOAD_FILE = "channel.download_file"
    CHANNEL_REPODATA = "channel.repodata"
    CHANNEL_LIST_PACKAGES = "channel.list_packages"
    CHANNEL_CREATE = "channel.create"
    CHANNEL_CREATE_MIRROR = "channel.create_mirror"
    CHANNEL_CREATE_PROXY = "channel.create_proxy"
    CHANNEL_PATCH = "channel.patch"
    CHANNEL_MAKE_PUBLIC = "channel.make_public"
    CHANNEL_SET_SIZE_LIMIT = "channel.set_size_limit"
    CHANNEL_DELETE = "channel.delete"
    CHANNEL_MEMBERS_LIST = "channel.members.list"
    CHANNEL_MEMBERS_ADD = "channel.members.add"
    CHANNEL_MEMBERS_REMOVE = "channel.members.remove"
    PACKAGE_READ = "package.read"
    PACKAGE_VERSIONS = "package.versions"
    PACKAGE_DELETE = "package.delete"
    VERSION_READ = "version.read"
    VERSION_DELETE = "version.delete"
    FILE_UPLOAD = "file.upload"
    FILE_UPLOAD_ANY = "file.upload_any"
    FILE_OVERWRITE = "file.overwrite"
    APIKEY_LIST_OWN = "apikey.list_own"
    APIKEY_CREATE = "apikey.create"
    APIKEY_REVOKE_OWN = "apikey.revoke_own"
    APIKEY_REVOKE_OTHER = "apikey.revoke_other"
    USERS_READ_SELF = "users.read_self"
    LOGIN = "login"
    LOGOUT = "logout"
    HEALTH_LIVE = "health.live"
    HEALTH_READY = "health.ready"
    OPENAPI = "openapi"


class Place(StrEnum):
    """What an operation is done to; a role in it shows it to the caller when it is private."""

    SERVER = "on the server"
    CHANNEL = "in the channel"
    PACKAGE = "in the channel or in the package"


class Takes(StrEnum):
    """What an operation takes of a caller who sees what it is done to."""

    NOTHING = "nothing"
    LOGIN = "a login"
    UNLIMITED = "a login, or an API key that is neither scoped nor read-only"
    SERVER_ROLE = "the role {role} on the server"
    ROLE = "the role {role} {place}"


@dataclass(frozen=True)
class Rule:
    deed: str
    place: Place = Place.SERVER
    takes: Takes = Takes.NOTHING
    role: Role = Role.MEMBER

    @property
    def needed(self) -> str:
        return self.takes.format(role=self.role, place=self.place)


def _channel(deed: str, role: Role | None = None) -> Rule:
    """Return the rule of a deed done to a channel; without a role, by whoever sees it."""
    takes = Takes.NOTHING if role is None else Takes.ROLE
    return Rule(deed, Place.CHANNEL, takes, role or Role.MEMBER)


def _package(deed: str, role: Role | None = None) -> Rule:
    """Return the rule of a deed done to a package; without a role, by whoever sees it."""
    takes = Takes.NOTHING if role is None else Takes.ROLE
    return Rule(deed, Place.PACKAGE, takes, role or Role.MEMBER)


def _server(deed: str, takes: Takes | Role = Takes.NOTHING) -> Rule:
    if isinstance(takes, Role):
        return Rule(deed, takes=Takes.SERVER_ROLE, role=takes)
    return Rule(deed, takes=takes)


RULES: dict[Operation, Rule] = {
    # Everyone may list channels; authorised with a channel it says whether that one shows.
    Operation.LIST_CHANNELS: _server("listing channels"),
    Operation.CHANNEL_READ: _channel("reading a channel"),
    Operation.CHANNEL_DOWNLOAD_FILE: _channel("downloading a file"),
    Operation.CHANNEL_REPODATA: _channel("reading an index"),
    Operation.CHANNEL_LIST_PACKAGES: _channel("listing packages"),
    Operation.CHANNEL_CREATE: _server("creating a channel", Role.MEMBER),
    Operation.CHANNEL_CREATE_MIRROR: _server("creating a mirror channel", Role.MAINTAINER),
    Operation.CHANNEL_CREATE_PROXY: _server("creating a proxy channel", Role.MAINTAINER),
    Operation.CHANNEL_PATCH: _channel("changing a channel", Role.MAINTAINER),
    Operation.CHANNEL_MAKE_PUBLIC: _channel("making a channel public", Role.OWNER),
    Operation.CHANNEL_SET_SIZE_LIMIT: Rule(
        "setting a channel's size limit", Place.CHANNEL, Takes.SERVER_ROLE, Role.MAINTAINER
    ),
    Operation.CHANNEL_DELETE: _channel("deleting a channel", Role.MAINTAINER),
    Operation.CHANNEL_MEMBERS_LIST: _channel("listing a channel's members", Role.MAINTAINER),
    Operation.CHANNEL_MEMBERS_ADD: _channel("adding a member to a channel", Role.OWNER),
    Operation.CHANNEL_MEMBERS_REMOVE: _channel("removing a member of a channel", Role.OWNER),
    Operation.PACKAGE_READ: _package("reading a package"),
    Operation.PACKAGE_VERSIONS: _package("listing a package's versions"),
    Operation.PACKAGE_DELETE: _package("deleting a package", Role.MAINTAINER),
    Operation.VERSION_READ: _package("reading a version"),
    Operation.VERSION_DELETE: _package("deleting a version", Role.MAINTAINER),
    # Without a package it is the upload of a new one, which takes the role in the channel.
    Operation.FILE_UPLOAD: _package("uploading a file", Role.MAINTAINER),
    # The names of the files are still to come: FILE_UPLOAD must follow for each of them.
    Operation.FILE_UPLOAD_ANY: _package("uploading files", Role.MAINTAINER),
    Operation.FILE_OVERWRITE: _package("replacing a file", Role.OWNER),
    Operation.APIKEY_LIST_OWN: _server("listing API keys", Takes.UNLIMITED),
    Operation.APIKEY_CREATE: _server("creating an API key", Takes.UNLIMITED),
    Operation.APIKEY_REVOKE_OWN: _server("revoking an API key", Takes.UNLIMITED),
    Operation.APIKEY_REVOKE_OTHER: _server("revoking an API key of another user", Role.MAINTAINER),
    Operation.USERS_READ_SELF: _server("reading one's own account", Takes.LOGIN),
    Operation.LOGIN: _server("logging in"),
    Operation.LOGOUT: _server("logging out"),
    Operation.HEALTH_LIVE: _server("asking whether the server lives"),
    Operation.HEALTH_READY: _server("asking whether the server is ready"),
    Operation.OPENAPI: _server("reading the description of the API"),
}
