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
    SEARCH_CHANNELS = "search.channels"
    SEARCH_PACKAGES = "search.packages"
    CHANNEL_READ = "channel.read"
    CHANNEL_DOWNLOAD_FILE = "channel.download_file"
    CHANNEL_REPODATA = "channel.repodata"
    CHANNEL_INDEX_HTML = "channel.index_html"
    CHANNEL_LIST_PACKAGES = "channel.list_packages"
    CHANNEL_METRICS = "channel.metrics"
    CHANNEL_CHANGES = "channel.changes"
    CHANNEL_STATS = "channel.stats"
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
    CHANNEL_MIRRORS_LIST = "channel.mirrors.list"
    CHANNEL_MIRRORS_REGISTER = "channel.mirrors.register"
    CHANNEL_MIRRORS_DELETE = "channel.mirrors.delete"
    ACTION_SYNCHRONIZE = "action.synchronize"
    ACTION_GENERATE_INDEXES = "action.generate_indexes"
    ACTION_REINDEX = "action.reindex"
    ACTION_VALIDATE_PACKAGES = "action.validate_packages"
    ACTION_SYNCHRONIZE_METRICS = "action.synchronize_metrics"
    ACTION_CLEANUP = "action.cleanup"
    PACKAGE_READ = "package.read"
    PACKAGE_VERSIONS = "package.versions"
    PACKAGE_CREATE = "package.create"
    PACKAGE_DELETE = "package.delete"
    PACKAGE_COPY = "package.copy"
    PACKAGE_COPY_FROM = "package.copy_from"
    PACKAGE_MEMBERS_LIST = "package.members.list"
    PACKAGE_MEMBERS_ADD = "package.members.add"
    PACKAGE_MEMBERS_REMOVE = "package.members.remove"
    VERSION_READ = "version.read"
    VERSION_METRICS = "version.metrics"
    VERSION_RUN_EXPORTS = "version.run_exports"
    VERSION_YANK = "version.yank"
    VERSION_DELETE = "version.delete"
    FILE_UPLOAD = "file.upload"
    FILE_UPLOAD_ANY = "file.upload_any"
    FILE_OVERWRITE = "file.overwrite"
    APIKEY_LIST_OWN = "apikey.list_own"
    APIKEY_CREATE = "apikey.create"
    APIKEY_REVOKE_OWN = "apikey.revoke_own"
    APIKEY_REVOKE_OTHER = "apikey.revoke_other"
    APIKEY_REVOKE_LEAKED = "apikey.revoke_leaked"
    USERS_LIST_ALL = "users.list_all"
    USERS_READ_SELF = "users.read_self"
    USERS_READ_OTHER = "users.read_other"
    USERS_CREATE = "users.create"
    USERS_DELETE_ANY = "users.delete_any"
    USERS_DELETE_SELF = "users.delete_self"
    USERS_DELETE_MEMBER = "users.delete_member"
    USERS_DELETE_ELEVATED = "users.delete_elevated"
    USERS_SET_ROLE = "users.set_role"
    USERS_SET_ROLE_ELEVATED = "users.set_role_elevated"
    JOBS_LIST = "jobs.list"
    JOBS_CREATE = "jobs.create"
    JOBS_READ_OTHER = "jobs.read_other"
    AUDIT_READ_CHANNEL = "audit.read_channel"
    AUDIT_READ_ALL = "audit.read_all"
    LOGIN = "login"
    LOGOUT = "logout"
    HEALTH_LIVE = "health.live"
    HEALTH_READY = "health.ready"
    PROMETHEUS = "prometheus"
    OPENAPI = "openapi"
    FRONTEND = "frontend"


class Verb(StrEnum):
    """A kind of deeds, which an API key may be limited to."""

    READ = "read"
    UPLOAD = "upload"
    DELETE = "delete"
    MANAGE = "manage"


class Place(StrEnum):
    """What an operation is done to; a role in it shows it to the caller when it is private."""

    SERVER = "on the server"
    CHANNEL = "in the channel"
    PACKAGE = "in the channel or in the package"


class Takes(StrEnum):
    """What an operation takes of a caller who sees what it is done to."""

    NOTHING = "nothing"
    LOGIN = "a login"
    BROWSER = "a login by a browser"
    UNLIMITED = "a login, or an API key that is neither scoped nor read-only"
    SERVER_ROLE = "the role {role} on the server"
    ROLE = "the role {role} {place}"


@dataclass(frozen=True)
class Rule:
    """What a deed takes; ``in_channel`` is a lower role that does if held in the whole channel.

    ``verb`` is asked of an API key wherever a caller without a login would be refused.
    """

    deed: str
    place: Place = Place.SERVER
    takes: Takes = Takes.NOTHING
    role: Role = Role.MEMBER
    in_channel: Role | None = None
    verb: Verb = Verb.MANAGE

    @property
    def needed(self) -> str:
        if self.in_channel is not None:
            return f"the role {self.in_channel} in the channel or {self.role} in the package"
        return self.takes.format(role=self.role, place=self.place)


def _channel(deed: str, role: Role | None = None, verb: Verb = Verb.MANAGE) -> Rule:
    """Return the rule of a deed done to a channel; without a role, by whoever sees it."""
    if role is None:
        return Rule(deed, Place.CHANNEL, verb=Verb.READ)
    return Rule(deed, Place.CHANNEL, Takes.ROLE, role, verb=verb)


def _package(deed: str, role: Role | None = None, verb: Verb = Verb.MANAGE) -> Rule:
    """Return the rule of a deed done to a package; without a role, by whoever sees it."""
    if role is None:
        return Rule(deed, Place.PACKAGE, verb=Verb.READ)
    return Rule(deed, Place.PACKAGE, Takes.ROLE, role, verb=verb)


def _of_package(deed: str) -> Rule:
    """Return the rule of a deed for owners of a package, and maintainers of its channel."""
    return Rule(deed, Place.PACKAGE, Takes.ROLE, Role.OWNER, in_channel=Role.MAINTAINER)


def _by_server_role(deed: str) -> Rule:
    """Return the rule of a deed done to a channel that no role in it allows."""
    return Rule(deed, Place.CHANNEL, Takes.SERVER_ROLE, Role.MAINTAINER)


def _server(deed: str, takes: Takes | Role = Takes.NOTHING, verb: Verb = Verb.MANAGE) -> Rule:
    if isinstance(takes, Role):
        return Rule(deed, takes=Takes.SERVER_ROLE, role=takes, verb=verb)
    return Rule(deed, takes=takes, verb=Verb.READ if takes is Takes.NOTHING else verb)


RULES: dict[Operation, Rule] = {
    # Everyone may list channels; authorised with a channel it says whether that one shows.
    Operation.LIST_CHANNELS: _server("listing channels"),
    Operation.SEARCH_CHANNELS: _server("searching channels"),
    Operation.SEARCH_PACKAGES: _server("searching packages"),
    Operation.CHANNEL_READ: _channel("reading a channel"),
    Operation.CHANNEL_DOWNLOAD_FILE: _channel("downloading a file"),
    Operation.CHANNEL_REPODATA: _channel("reading an index"),
    Operation.CHANNEL_INDEX_HTML: _channel("reading a channel's page"),
    Operation.CHANNEL_LIST_PACKAGES: _channel("listing packages"),
    Operation.CHANNEL_METRICS: _channel("reading a channel's downloads"),
    Operation.CHANNEL_CHANGES: _channel("following a channel's changes"),
    Operation.CHANNEL_STATS: _channel("reading a channel's statistics"),
    Operation.CHANNEL_CREATE: _server("creating a channel", Role.MEMBER),
    Operation.CHANNEL_CREATE_MIRROR: _server("creating a mirror channel", Role.MAINTAINER),
    Operation.CHANNEL_CREATE_PROXY: _server("creating a proxy channel", Role.MAINTAINER),
    Operation.CHANNEL_PATCH: _channel("changing a channel", Role.MAINTAINER),
    Operation.CHANNEL_MAKE_PUBLIC: _channel("making a channel public", Role.OWNER),
    Operation.CHANNEL_SET_SIZE_LIMIT: _by_server_role("setting a channel's size limit"),
    Operation.CHANNEL_DELETE: _channel("deleting a channel", Role.MAINTAINER),
    Operation.CHANNEL_MEMBERS_LIST: _channel(
        "listing a channel's members", Role.MAINTAINER, Verb.READ
    ),
    Operation.CHANNEL_MEMBERS_ADD: _channel("adding a member to a channel", Role.OWNER),
    Operation.CHANNEL_MEMBERS_REMOVE: _channel("removing a member of a channel", Role.OWNER),
    Operation.CHANNEL_MIRRORS_LIST: _channel("listing a channel's mirrors"),
    Operation.CHANNEL_MIRRORS_REGISTER: _channel("registering a mirror", Role.MAINTAINER),
    Operation.CHANNEL_MIRRORS_DELETE: _channel("removing a mirror", Role.MAINTAINER),
    Operation.ACTION_SYNCHRONIZE: _channel("synchronizing a channel", Role.MAINTAINER),
    Operation.ACTION_GENERATE_INDEXES: _channel("generating indexes", Role.MAINTAINER),
    Operation.ACTION_REINDEX: _channel("indexing a channel anew", Role.MAINTAINER),
    Operation.ACTION_VALIDATE_PACKAGES: _by_server_role("validating a channel's packages"),
    Operation.ACTION_SYNCHRONIZE_METRICS: _channel("synchronizing metrics", Role.MAINTAINER),
    Operation.ACTION_CLEANUP: _channel("cleaning up a channel", Role.OWNER),
    Operation.PACKAGE_READ: _package("reading a package"),
    Operation.PACKAGE_VERSIONS: _package("listing a package's versions"),
    Operation.PACKAGE_CREATE: _channel("creating a package", Role.MAINTAINER, Verb.UPLOAD),
    Operation.PACKAGE_DELETE: _package("deleting a package", Role.MAINTAINER, Verb.DELETE),
    Operation.PACKAGE_COPY: _channel(
        "copying a package into a channel", Role.MAINTAINER, Verb.UPLOAD
    ),
    Operation.PACKAGE_COPY_FROM: _channel("copying a package out of a channel"),
    Operation.PACKAGE_MEMBERS_LIST: _package("listing a package's members"),
    Operation.PACKAGE_MEMBERS_ADD: _of_package("adding a member to a package"),
    Operation.PACKAGE_MEMBERS_REMOVE: _of_package("removing a member of a package"),
    Operation.VERSION_READ: _package("reading a version"),
    Operation.VERSION_METRICS: _package("reading a version's downloads"),
    Operation.VERSION_RUN_EXPORTS: _package("reading a version's run_exports"),
    Operation.VERSION_YANK: _package(
        "yanking or restoring a version", Role.MAINTAINER, Verb.DELETE
    ),
    Operation.VERSION_DELETE: _package("deleting a version", Role.MAINTAINER, Verb.DELETE),
    # Without a package it is the upload of a new one, which takes the role in the channel.
    Operation.FILE_UPLOAD: _package("uploading a file", Role.MAINTAINER, Verb.UPLOAD),
    # The names of the files are still to come: FILE_UPLOAD must follow for each of them.
    Operation.FILE_UPLOAD_ANY: _package("uploading files", Role.MAINTAINER, Verb.UPLOAD),
    Operation.FILE_OVERWRITE: _package("replacing a file", Role.OWNER, Verb.UPLOAD),
    Operation.APIKEY_LIST_OWN: _server("listing API keys", Takes.UNLIMITED, Verb.READ),
    Operation.APIKEY_CREATE: _server("creating an API key", Takes.UNLIMITED),
    Operation.APIKEY_REVOKE_OWN: _server("revoking an API key", Takes.UNLIMITED),
    Operation.APIKEY_REVOKE_OTHER: _server("revoking an API key of another user", Role.MAINTAINER),
    Operation.APIKEY_REVOKE_LEAKED: _server("revoking a leaked API key"),
    Operation.USERS_LIST_ALL: _server("listing all users", Role.MAINTAINER, Verb.READ),
    Operation.USERS_READ_SELF: _server("reading one's own account", Takes.LOGIN, Verb.READ),
    Operation.USERS_READ_OTHER: _server("reading another account", Role.MAINTAINER, Verb.READ),
    Operation.USERS_CREATE: _server("creating an account", Role.MAINTAINER),
    # Whose account it is is still to be seen: one of the next three must follow.
    Operation.USERS_DELETE_ANY: _server("deleting an account", Takes.LOGIN),
    Operation.USERS_DELETE_SELF: _server("deleting one's own account", Takes.BROWSER),
    Operation.USERS_DELETE_MEMBER: _server("deleting another account", Role.MAINTAINER),
    Operation.USERS_DELETE_ELEVATED: _server("deleting an elevated account", Role.OWNER),
    Operation.USERS_SET_ROLE: _server("setting a role on the server", Role.MAINTAINER),
    Operation.USERS_SET_ROLE_ELEVATED: _server("giving or taking an elevated role", Role.OWNER),
    Operation.JOBS_LIST: _channel("listing a channel's jobs", Role.MAINTAINER, Verb.READ),
    Operation.JOBS_CREATE: _server("creating a job", Role.MAINTAINER),
    Operation.JOBS_READ_OTHER: _server("reading another user's job", Role.MAINTAINER, Verb.READ),
    Operation.AUDIT_READ_CHANNEL: _channel("reading a channel's audit log", Role.OWNER, Verb.READ),
    Operation.AUDIT_READ_ALL: _server("reading the audit log", Role.OWNER, Verb.READ),
    Operation.LOGIN: _server("logging in"),
    Operation.LOGOUT: _server("logging out"),
    Operation.HEALTH_LIVE: _server("asking whether the server lives"),
    Operation.HEALTH_READY: _server("asking whether the server is ready"),
    Operation.PROMETHEUS: _server("reading the server's metrics", Role.MAINTAINER, Verb.READ),
    Operation.OPENAPI: _server("reading the description of the API"),
    Operation.FRONTEND: _server("reading a page"),
}
