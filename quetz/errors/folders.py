"""What can go wrong with channels in plain folders, when they are imported or exported."""

from pathlib import Path

from quetz.errors import Conflict, Invalid, NotFound


class NoChannelFolder(NotFound):
    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"'{folder}' is no folder of a channel: it needs subfolders such as noarch or linux-64"
        )


class BadRepodata(Invalid):
    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"'{path}' cannot be read: {reason}; mend it, or take it away to import without it"
        )


class FileUnreadable(Invalid):
    def __init__(self, reason: str) -> None:
        super().__init__(f"it cannot be read: {reason}")


class ListedOtherwise(Invalid):
    """A file has not the size or the hash that its repodata says."""

    def __init__(self, key: str, listed: object, found: object) -> None:
        super().__init__(f"its repodata says {key} {listed}, the file has {found}")


class OtherSubdir(Invalid):
    def __init__(self, subdir: str) -> None:
        super().__init__(f"the package says that its subdir is {subdir!r}")


class ListedAndMissing(Invalid):
    def __init__(self) -> None:
        super().__init__("its repodata lists it, and there is no such file")


class NotAnExport(Conflict):
    def __init__(self, folder: Path, channel: str) -> None:
        super().__init__(
            f"'{folder}' is not empty, and no export of the channel '{channel}'; choose another "
            "folder, or pass --force to write into this one"
        )


class ExportRunning(Conflict):
    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"another export to '{folder}' is running; wait for it, or choose another folder"
        )


class IndexUnreadable(Conflict):
    def __init__(self, channel: str) -> None:
        super().__init__(
            f"index files of the channel '{channel}' are missing or torn; build them anew with "
            f"quetz reindex {channel}"
        )


class ChannelBusy(Conflict):
    def __init__(self, channel: str) -> None:
        super().__init__(
            f"the channel '{channel}' changes faster than its indexes are published; "
            "try again when it is quiet"
        )


class ObjectDamaged(Conflict):
    def __init__(self, sha256: str, found: str) -> None:
        super().__init__(
            f"the store's object {sha256} is damaged: its bytes have the sha256 {found}"
        )
