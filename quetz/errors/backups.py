"""What can be wrong with backups of a whole deployment, and with restoring them."""

from pathlib import Path
from shlex import quote

from quetz.errors import Conflict


class BackupRunning(Conflict):
    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"another command is writing to the backups in '{folder}'; try again when it has ended"
        )


class BadBackupFolder(Conflict):
    def __init__(self, folder: Path, reason: str) -> None:
        super().__init__(f"'{folder}' cannot hold backups: {reason}; choose another folder")


class NotRestorable(Conflict):
    """A backup cannot be restored where it was asked for; nothing was changed."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"nothing was restored to '{path}': {reason}")


class RestoreUnfinished(Conflict):
    """A restore of the deployment was broken off."""

    def __init__(self, path: Path, state: str) -> None:
        super().__init__(
            f"a restore of '{path}' did not come to its end, so it cannot be used; finish it with: "
            f"quetz restore {quote(state)} {quote(str(path))}, and the --database-url of before"
        )
