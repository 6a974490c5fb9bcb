"""What can go wrong with packages, their members and the mirrors of channels."""

from quetz.errors import Conflict, Invalid, NotFound, TooLarge


class PackageNameTaken(Conflict):
    def __init__(self, channel: str, name: str) -> None:
        super().__init__(f"channel '{channel}' has a package '{name}' already")


class MemberExists(Conflict):
    def __init__(self, username: str, place: str) -> None:
        super().__init__(f"'{username}' is a member of {place} already; remove him first")


class FileYanked(Conflict):
    def __init__(self, path: str) -> None:
        super().__init__(f"'{path}' was yanked; restore it to copy it")


class FormTooHeavy(TooLarge):
    def __init__(self, count: int, limit: int) -> None:
        super().__init__(
            f"index.json, run_exports.json and about.json of the first {count} files take more "
            f"than {limit} bytes of memory; upload fewer files at once"
        )


class MirrorExists(Conflict):
    def __init__(self, channel: str, url: str) -> None:
        super().__init__(f"channel '{channel}' has a mirror at '{url}' already")


class MirrorNotFound(NotFound):
    def __init__(self, channel: str) -> None:
        super().__init__(f"channel '{channel}' has no mirror of this id; list them for their ids")


class BadMirror(Invalid):
    """A URL of a mirror breaks a rule; it may hold a secret, so the message does not repeat it."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
