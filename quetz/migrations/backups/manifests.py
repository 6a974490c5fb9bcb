"""What is known of a backup: a JSON file beside it, without which it is none."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from quetz.errors.migrations import BackupUnsound
from quetz.storage.folders import sync

FORMAT = 1
SUFFIX = ".json"


@dataclass(frozen=True)
class Manifest:
    """``kind`` is SQLAlchemy's name of the dialect, ``rows`` is per table.

    ``safety`` marks the copy that a restore keeps of what it replaces.
    """

    file: Path
    kind: str
    database: str
    created: datetime
    heads: tuple[str, ...]
    rows: dict[str, int] = field(hash=False)
    size: int
    sha256: str
    app_version: str
    safety: bool = False

    @property
    def whole(self) -> bool:
        """Whether the file has its size; ``Backups.verify`` reads it."""
        return self.file.is_file() and self.file.stat().st_size == self.size

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self) | {
            "file": str(self.file),
            "created": self.created.isoformat(),
            "whole": self.whole,
        }

    def write(self) -> None:
        backup = asdict(self) | {"file": self.file.name, "created": self.created.isoformat()}
        content = {"format": FORMAT, "seal": _seal(backup), "backup": backup}
        path = manifest_path(self.file)
        part = path.with_name(path.name + ".part")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            json.dump(content, stream, indent=2)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
        sync(path.parent)

    @classmethod
    def read(cls, file: Path) -> "Manifest":
        """Raises BackupUnsound: there is no manifest, or it is not as it was written."""
        try:
            content = json.loads(manifest_path(file).read_text(encoding="utf-8"))
            backup = content["backup"]
            if content["format"] != FORMAT or content["seal"] != _seal(backup):
                raise BackupUnsound(file, "its manifest is damaged, or of another version of quetz")
            if backup["file"] != file.name:
                raise BackupUnsound(file, f"its manifest is of a file named '{backup['file']}'")
            created = datetime.fromisoformat(backup["created"]).astimezone(UTC)
            heads = tuple(backup["heads"])
            return replace(cls(**backup), file=file, created=created, heads=heads)
        except FileNotFoundError as error:
            raise BackupUnsound(file, f"it has no manifest '{manifest_path(file)}'") from error
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise BackupUnsound(file, f"its manifest cannot be read: {error}") from error


def manifest_path(file: Path) -> Path:
    return file.with_name(file.name + SUFFIX)


def digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _seal(backup: dict[str, Any]) -> str:
    text = json.dumps(backup, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
