"""Names in the database, apart from those of files (I11, I13)."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Row

from quetz.conda.filenames import PackageFilename, name_of_file
from quetz.conda.names import check_package_name, check_subdir, normal_channel_name
from quetz.db.models import (
    Channel,
    IndexState,
    IndexSuperseded,
    Package,
    ReplacedFile,
    StoredObject,
    Tombstone,
)
from quetz.db.queries import checks as queries
from quetz.db.queries.files import list_held
from quetz.errors import BadFilename, BadName
from quetz.services.publishing import WHOLE_CHANNEL, decode_files, keys_of
from quetz.storage.keys import index_key, object_key, parse_index_key
from quetz.worker.checks.findings import Finding, Ground, Severity

PAGE = 500
_BY_HAND = "no request makes such a name: find out who writes to the database"
_BURIED = "delete the file, or upload it again with force, so that its name stands for one thing"


def check_names(ground: Ground) -> Iterator[Finding]:
    """I13: each key and name passes the rules of today. A name never changes once it is there."""
    with ground.deployment.transaction() as session:
        for columns, check in _RULES:
            table = columns[0].class_.__tablename__
            for row in queries.stream_rows(session, *columns):
                ground.looked_at["names"] += 1
                if fault := _fault(check, row):
                    subject = f"{table}: {row[0]}"
                    yield Finding("I13", Severity.ERROR, subject, fault, _BY_HAND)


def _fault(check: Callable[..., object], row: Row[Any]) -> str:
    try:
        check(*row)
    except (BadFilename, BadName, ValueError) as error:
        return str(error)
    return ""


def _check_channel(name: str) -> None:
    if normal_channel_name(name) != name:
        raise BadName("channel", name, "it is stored in lower case")


def _check_place(filename: str, subdir: str, sha256: str) -> None:
    PackageFilename.parse(filename)
    check_subdir(subdir)
    object_key(sha256)


def _check_state(subdir: str, channel_id: int, files: str) -> None:
    index_key(channel_id, subdir, "a")
    for key in keys_of(decode_files(files)):
        parse_index_key(key)


def _check_superseded(key: str, family: str) -> None:
    parse_index_key(f"{key}/noarch/a" if family == WHOLE_CHANNEL else key)


_RULES: Sequence[tuple[Sequence[Any], Callable[..., object]]] = (
    ([Channel.name], _check_channel),
    ([Package.name], check_package_name),
    ([StoredObject.sha256], object_key),
    ([Tombstone.filename, Tombstone.subdir, Tombstone.sha256], _check_place),
    ([ReplacedFile.filename, ReplacedFile.subdir, ReplacedFile.sha256], _check_place),
    ([IndexState.subdir, IndexState.channel_id, IndexState.files], _check_state),
    ([IndexSuperseded.key, IndexSuperseded.family], _check_superseded),
)
"""The columns of a table, what is shown of it first, and what checks them."""


def check_tombstones(ground: Ground) -> Iterator[Finding]:
    """I11: no name is live and reserved for other bytes at once."""
    last = 0
    while True:
        found: list[tuple[str, str, str]] = []
        with ground.deployment.transaction() as session:
            page = queries.list_tombstones_after(session, last, limit=PAGE)
            groups: dict[tuple[int, str, str], dict[str, str]] = defaultdict(dict)
            for _, channel_id, channel, subdir, filename, sha256 in page:
                groups[channel_id, channel, subdir][filename] = sha256
            for (channel_id, channel, subdir), buried in groups.items():
                places = [(name_of_file(filename), filename) for filename in sorted(buried)]
                for filename, sha256 in list_held(session, channel_id, subdir, places):
                    if sha256 != buried[filename]:
                        found.append((f"{channel}/{subdir}/{filename}", sha256, buried[filename]))
        for path, live, reserved in found:
            what = f"it is live with the bytes {live}, and its name is reserved for {reserved}"
            yield Finding("I11", Severity.ERROR, path, what, _BURIED)
        if not page:
            return
        last = page[-1][0]
