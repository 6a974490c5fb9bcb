"""What can go wrong: seven kinds, and the named cases below them.

Nothing here knows of HTTP or exit codes: ``web``, ``worker`` and ``cli`` each hold one table
that translates kinds. A message says what, on what, and what to do.
"""

from pathlib import Path
from shlex import quote
from typing import Any


class QuetzError(Exception):
    """The base of every error that is meant for the caller's eyes."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Let processes send it: an ``__init__`` takes parts of the message, not the message."""
        return _made_again, (type(self), *self.args), vars(self)


def _made_again(kind: type[QuetzError], *args: object) -> QuetzError:
    return kind.__new__(kind, *args)


class NotFound(QuetzError):
    """The thing named does not exist, or is not visible to the caller."""


class Conflict(QuetzError):
    """The request contradicts what is stored."""


class Invalid(QuetzError):
    """The input breaks a rule of its format."""


class NotLoggedIn(QuetzError):
    """The caller has to authenticate first."""


class NotAllowed(QuetzError):
    """The caller is known, sees the thing, and may not do the deed."""


class TooLarge(QuetzError):
    """The input exceeds a limit."""


class Unavailable(QuetzError):
    """Something the server depends on is away; the same request may succeed later."""


KINDS: tuple[type[QuetzError], ...] = (
    NotFound,
    Conflict,
    Invalid,
    NotLoggedIn,
    NotAllowed,
    TooLarge,
    Unavailable,
)


# Channels, packages, files


class ChannelNotFound(NotFound):
    def __init__(self, name: str) -> None:
        super().__init__("No channel of this name is visible to you: check the name or log in")
        self.name = name


class ChannelExists(Conflict):
    def __init__(self, name: str) -> None:
        super().__init__(f"channel '{name}' exists already; choose another name")
        self.name = name


class PackageNotFound(NotFound):
    def __init__(self, channel: str, name: str) -> None:
        super().__init__(f"channel '{channel}' has no package '{name}'; check the name")


class FileNotFound(NotFound):
    def __init__(self, path: str) -> None:
        super().__init__(f"there is no file '{path}'; check channel, subdir and file name")
        self.path = path


class PackageExists(Conflict):
    """A file name is taken by other bytes."""

    def __init__(self, path: str, stored: str, offered: str) -> None:
        super().__init__(
            f"'{path}' exists already with other bytes (stored sha256 {stored}, "
            f"offered {offered}); build a new version, or pass force=true to replace it"
        )
        self.path = path
        self.stored = stored


class PackageWasDeleted(Conflict):
    """A file name is reserved by the tombstone of other bytes."""

    def __init__(self, path: str, stored: str, offered: str) -> None:
        super().__init__(
            f"'{path}' was deleted and its name stays reserved for the bytes with sha256 "
            f"{stored} (offered {offered}); build a new version, or pass force=true to replace it"
        )
        self.path = path
        self.stored = stored


class BadFilename(Invalid):
    def __init__(self, filename: str, reason: str = "") -> None:
        super().__init__(
            f"'{filename}' is not a package file name"
            + (f": {reason}" if reason else "")
            + "; expected <name>-<version>-<build>.conda or .tar.bz2"
        )
        self.filename = filename


class RightsChanged(Conflict):
    def __init__(self) -> None:
        super().__init__("what you may do changed while this request waited; send it again")


class OtherPackage(Invalid):
    def __init__(self, filename: str, package: str) -> None:
        super().__init__(
            f"'{filename}' is no file of the package '{package}'; upload it to its own package, "
            "or to the channel"
        )


class BadName(Invalid):
    """A channel, package, subdir or user name breaks its rule."""

    def __init__(self, kind: str, name: str, rule: str) -> None:
        super().__init__(f"{kind} name {name!r} is not allowed: {rule}")


class BadArchive(Invalid):
    """An uploaded archive is broken or unsafe; ``field`` is the member or key at fault."""

    def __init__(self, filename: str, field: str, reason: str) -> None:
        super().__init__(f"'{filename}': {field}: {reason}")
        self.filename = filename
        self.field = field


class ChecksumMismatch(Invalid):
    def __init__(self, filename: str, declared: str, received: str) -> None:
        super().__init__(
            f"'{filename}': the body has sha256 {received}, the request declared {declared}; "
            "upload again"
        )


class UploadTooLarge(TooLarge):
    def __init__(self, what: str, limit: int) -> None:
        super().__init__(f"{what} exceeds the limit of {limit} bytes")


class QuotaExceeded(Invalid):
    def __init__(self, channel: str, limit: int, needed: int) -> None:
        super().__init__(
            f"channel '{channel}' may hold {limit} bytes and would hold {needed}; "
            "delete packages or ask a server maintainer for a larger size_limit"
        )


class UploadCutOff(Invalid):
    def __init__(self, filename: str) -> None:
        super().__init__(f"'{filename}': the body ended early; upload again")


# Accounts and rights


class LoginRequired(NotLoggedIn):
    def __init__(self) -> None:
        super().__init__("Not logged in")


class ChannelHidden(NotLoggedIn):
    """An anonymous caller named a channel that is private, or does not exist."""

    def __init__(self) -> None:
        super().__init__("No channel of this name is visible to you: check the name or log in")


class RoleRequired(NotAllowed):
    def __init__(self, deed: str, needed: str) -> None:
        super().__init__(f"{deed} takes {needed}")


class UserNotFound(NotFound):
    def __init__(self, username: str) -> None:
        super().__init__(f"there is no user '{username}'; check the name")


class UserExists(Conflict):
    def __init__(self, username: str) -> None:
        super().__init__(f"user '{username}' exists already")


class MemberNotFound(NotFound):
    def __init__(self, username: str, place: str) -> None:
        super().__init__(f"'{username}' is not a member of {place}")


class LastOwner(Conflict):
    def __init__(self, place: str) -> None:
        super().__init__(f"{place} must keep one owner; make another owner first")


class ApiKeyNotFound(NotFound):
    """Whoever asked may have given the whole key, so the message repeats nothing of it."""

    def __init__(self) -> None:
        super().__init__("there is no such API key; list yours for their ids")


class ExpiryRefused(Invalid):
    def __init__(self, reason: str) -> None:
        super().__init__(f"expire_at: {reason}; choose another day")


# Deployment


class BadConfig(Invalid):
    """A configuration file or environment variable breaks a rule; names file, section and key."""


class DeploymentNotFound(NotFound):
    def __init__(self, path: Path) -> None:
        parent = path.absolute().parent
        what_to_do = (
            f"its parent '{parent}' is one"
            if (parent / "config.toml").is_file()
            else f"make one with: quetz create {quote(str(path))}"
        )
        super().__init__(f"'{path}' is not a quetz deployment (no config.toml); {what_to_do}")


class DeploymentExists(Conflict):
    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"'{path}' {reason}")


class PortTaken(Conflict):
    def __init__(self, host: str, port: int) -> None:
        super().__init__(
            f"port {port} on {host} is in use; stop the other server or choose another --port"
        )


class DatabaseMissing(Unavailable):
    """The file of an SQLite database is not there."""

    def __init__(self, path: object, file: object) -> None:
        super().__init__(
            f"the database file '{file}' is missing; restore it, or make an empty one with: "
            f"quetz init-db {quote(str(path))}"
        )


class DatabaseUnreadable(Unavailable):
    """The file of an SQLite database cannot be opened, or is none, or PostgreSQL has no schema."""

    def __init__(self, file: object, reason: object) -> None:
        super().__init__(f"the database file '{file}' cannot be read: {reason}")


class DatabaseUnreachable(Unavailable):
    """No connection to PostgreSQL could be made."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the database cannot be reached: {reason}; start its server, or correct "
            "[sqlalchemy] database_url (or migration_url, if that is set)"
        )


class PluginError(Invalid):
    def __init__(self, plugin: str, reason: str) -> None:
        super().__init__(f"plugin '{plugin}': {reason}")
        self.plugin = plugin
        self.reason = reason


class FolderExists(Conflict):
    def __init__(self, path: object) -> None:
        super().__init__(f"'{path}' exists already; choose another name, or another --directory")


class StorageFull(Unavailable):
    def __init__(self) -> None:
        super().__init__("the server's disk is full; free space and try again")


class StoreUnavailable(Unavailable):
    def __init__(self, reason: str) -> None:
        super().__init__(f"the object store is away ({reason}); try again later")


class DatabaseUnavailable(Unavailable):
    def __init__(self) -> None:
        super().__init__("the database is away or busy; try again later")


# Parameters of listings, and settings of channels


class BadVersionSpec(Invalid):
    def __init__(self, text: str) -> None:
        super().__init__(f"{text!r} is not a version specification; write for example >=1.2,<2")


class BadOrder(Invalid):
    def __init__(self, text: str, allowed: str) -> None:
        super().__init__(f"cannot order by {text!r}; write {allowed}, then :asc or :desc")


class BothLists(Invalid):
    def __init__(self) -> None:
        super().__init__("a channel has an includelist or an excludelist, not both")


class BadOption(Invalid):
    """Options of a command contradict each other, or cannot be met here."""


class NotDeletable(Conflict):
    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"'{path}' {reason}")


class DeploymentBusy(Conflict):
    """Somebody else is at work in the deployment's folder."""

    def __init__(self, path: object, *, served: bool) -> None:
        super().__init__(
            f"'{path}' is being served; stop the server first"
            if served
            else f"'{path}' is being created or deleted by another command; "
            "try again when that has ended"
        )


class ObjectMissing(NotFound):
    def __init__(self, key: object) -> None:
        super().__init__(f"the store does not hold '{key}'")
