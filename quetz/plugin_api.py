"""All that a plugin imports from quetz; anything else may change without notice.

Names are loaded when they are first asked for: a plugin's models do not load the web server.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quetz.conda.archives import PackageArchive
    from quetz.conda.filenames import PackageFilename
    from quetz.db.base import Base, ByteOrdered, Milliseconds, RowId, new_public_id, now_ms
    from quetz.db.models import Channel, ChannelMember, File, Package, PackageMember, User
    from quetz.errors import (
        Conflict,
        Invalid,
        NotAllowed,
        NotFound,
        NotLoggedIn,
        TooLarge,
        Unavailable,
    )
    from quetz.hooks import hookimpl
    from quetz.migrations import safe
    from quetz.services.permissions import Operation, Principal, authorize
    from quetz.storage import ObjectStore
    from quetz.web.deps import Caller, ReadSession, WriteSession
    from quetz.web.guard import GuardedRouter, declares

__all__ = [
    "Base",
    "ByteOrdered",
    "Caller",
    "Channel",
    "ChannelMember",
    "Conflict",
    "File",
    "GuardedRouter",
    "Invalid",
    "Milliseconds",
    "NotAllowed",
    "NotFound",
    "NotLoggedIn",
    "ObjectStore",
    "Operation",
    "Package",
    "PackageArchive",
    "PackageFilename",
    "PackageMember",
    "Principal",
    "ReadSession",
    "RowId",
    "TooLarge",
    "Unavailable",
    "User",
    "WriteSession",
    "authorize",
    "declares",
    "hookimpl",
    "new_public_id",
    "now_ms",
    "safe",
]

_HOMES = {
    "quetz.conda.archives": ("PackageArchive",),
    "quetz.conda.filenames": ("PackageFilename",),
    "quetz.db.base": (
        "Base",
        "ByteOrdered",
        "Milliseconds",
        "RowId",
        "new_public_id",
        "now_ms",
    ),
    "quetz.db.models": ("Channel", "ChannelMember", "File", "Package", "PackageMember", "User"),
    "quetz.errors": (
        "Conflict",
        "Invalid",
        "NotAllowed",
        "NotFound",
        "NotLoggedIn",
        "TooLarge",
        "Unavailable",
    ),
    "quetz.hooks": ("hookimpl",),
    "quetz.migrations": ("safe",),
    "quetz.services.permissions": ("Operation", "Principal", "authorize"),
    "quetz.storage": ("ObjectStore",),
    "quetz.web.deps": ("Caller", "ReadSession", "WriteSession"),
    "quetz.web.guard": ("GuardedRouter", "declares"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"quetz.plugin_api has no {name!r}; it has: {', '.join(__all__)}")
