"""What a plugin may implement. Each hook is a promise to plugins, so write it like one.

A hook may get more arguments: an implementation names only those it wants. None is renamed or
removed. Hooks hand over what they need: a plugin opens no session and no store of its own.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pluggy import HookimplMarker, HookspecMarker

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from quetz.conda.archives import PackageArchive
    from quetz.db.models import Channel, File
    from quetz.storage import ObjectStore

hookspec = HookspecMarker("quetz")
hookimpl = HookimplMarker("quetz")


@hookspec
def check_upload(channel: "Channel", archive: "PackageArchive") -> None:
    """A package file has arrived, its archive is sound, and nothing is stored yet.

    Raise ``Invalid``, or a case of it, to refuse the upload; the client is shown the message.
    Any other exception is a fault of the server; nothing is stored either. No transaction is
    open for writing: change nothing. An upload of several files is refused as a whole.

    A copy of a file of another channel is asked and told of like an upload; its ``archive`` is
    made of what the other channel has on record. So is each file that ``quetz import`` takes in;
    it is refused alone.
    """


@hookspec
def package_published(session: "Session", file: "File", archive: "PackageArchive") -> None:
    """A package file was stored and recorded; the transaction is still open.

    What a plugin writes with ``session`` is kept or undone together with the upload. Do database
    work only, and do not commit or roll back. An exception, whatever its kind, undoes the upload,
    and its client is told of a fault of the server: to refuse an upload, implement
    ``check_upload``. Bytes that the channel holds already under that name are not published again.
    ``quetz import`` calls it for some hundred files in one transaction.
    """


@hookspec
def records_published(
    session: "Session",
    channel: "Channel",
    subdir: str,
    name: str,
    records: dict[str, dict[str, Any]],
) -> None:
    """The records of one package name are about to be written to the index of a subdir.

    ``records`` maps the filenames of the name to their repodata records, as the channel's hotfixes
    have left them, without those of files that were yanked or removed: change a record in place,
    or take it out. The database keeps the records as they were uploaded. ``session`` is for
    reading. The answer must depend on the arguments and the database only, since the records of a
    name are asked for whenever it changes, and for each form of the index. An exception keeps the
    former index in place, and publishing is tried again.
    """


@hookspec
def index_published(
    storage: "ObjectStore", channel: "Channel", subdir: str, generation: int
) -> None:
    """Clients see a new generation of the index files of a subdir.

    ``subdir`` is "" for the files of the whole channel. ``generation`` counts up for each family
    of files on its own. An exception is logged, and the other plugins are called. After a crash
    the call may be missing: the next generation brings the next one.
    """


@hookspec
def routers() -> Sequence[Any]:
    """Return routers whose routes the server shall answer, besides its own.

    Make them by ``GuardedRouter``; each route declares its operation by ``declares``, and names
    ``{channel}`` in its path if the operation is done to one, or the server does not start. Called
    once before the server starts, to check the routes, and once in each worker process.
    """
    return ()
