"""The core tables, one plural noun a file."""

from quetz.db.models.api_keys import ApiKey, ApiKeyScope
from quetz.db.models.channels import Channel, ChannelMirror
from quetz.db.models.events import Event
from quetz.db.models.files import DownloadCounts, File, FileDownloads, ReplacedFile, Tombstone
from quetz.db.models.index import IndexDirty, IndexState, IndexSuperseded
from quetz.db.models.members import ChannelMember, PackageMember
from quetz.db.models.objects import StoredObject, Upload
from quetz.db.models.packages import Package
from quetz.db.models.patches import PatchSource, RecordPatch
from quetz.db.models.users import Identity, LoginSession, User

__all__ = [
    "ApiKey",
    "ApiKeyScope",
    "Channel",
    "ChannelMember",
    "ChannelMirror",
    "DownloadCounts",
    "Event",
    "File",
    "FileDownloads",
    "Identity",
    "IndexDirty",
    "IndexState",
    "IndexSuperseded",
    "LoginSession",
    "Package",
    "PackageMember",
    "PatchSource",
    "RecordPatch",
    "ReplacedFile",
    "StoredObject",
    "Tombstone",
    "Upload",
    "User",
]
