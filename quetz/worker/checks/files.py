"""Files: their names, and the objects that hold their bytes (I1, I2, I3, I13)."""

import hashlib
import json
from collections.abc import Iterator

from quetz.conda.archives import read_opened_archive
from quetz.conda.filenames import PackageFilename
from quetz.conda.names import check_subdir
from quetz.conda.records import encode_record
from quetz.db.queries import checks as queries
from quetz.db.queries.checks import FileRow
from quetz.errors import BadArchive, BadFilename, BadName, ObjectMissing
from quetz.services.repairs import SetAside
from quetz.storage import ObjectStore
from quetz.storage.keys import object_key
from quetz.worker.checks.findings import Finding, Ground, Severity

PAGE = 1_000
_READ_AT_ONCE = 1 << 20

_BRING_BACK = "put the object back from a backup of the store, or upload the same file again"
_DAMAGED = "quetz fsck --deep --repair moves them aside; then upload the same file again"
_BY_HAND = "no request makes such a row: find out who writes to the database"


def check_files(ground: Ground) -> Iterator[Finding]:
    """Look at each file. What seems wrong is looked at again: it may have changed meanwhile."""
    last = 0
    while True:
        with ground.deployment.transaction() as session:
            page = queries.list_files_after(session, last, limit=PAGE)
        if not page:
            return
        suspects = [file.id for file in page if any(_judge(ground, file))]
        if suspects:
            with ground.deployment.transaction() as session:
                again = queries.list_files_again(session, suspects)
            for file in again:
                yield from _judge(ground, file)
        last = page[-1].id
        ground.looked_at["files"] += len(page)
        ground.step(len(page))


def _judge(ground: Ground, file: FileRow) -> Iterator[Finding]:
    fault = _name_fault(file)
    if fault:
        yield Finding("I13", Severity.ERROR, _path(file), fault, _BY_HAND)
        return
    store = ground.deployment.store
    size = store.size(object_key(file.sha256))
    if size == file.size and ground.deep:
        yield from _judge_bytes(store, file)
        size = store.size(object_key(file.sha256))  # a repair may have moved them aside
    if size != file.size:
        what = "is missing" if size is None else f"has {size:,} bytes, not {file.size:,}"
        what = f"the object {file.sha256} {what}"
        yield Finding("I1", Severity.ERROR, _path(file), what, _BRING_BACK)


def _judge_bytes(store: ObjectStore, file: FileRow) -> Iterator[Finding]:
    try:
        hashes = _hash(store, file)
    except ObjectMissing:  # a moment ago it was there
        return
    if hashes != (file.sha256, file.md5):
        kind = "sha256" if hashes[0] != file.sha256 else "md5"
        what = f"the bytes of the object {file.sha256} have another {kind}"
        # Right bytes stay where they are, though a row may say another md5 of them.
        repair = SetAside(file.sha256) if kind == "sha256" else None
        advice = _DAMAGED if repair else _BY_HAND
        yield Finding("I2", Severity.ERROR, _path(file), what, advice, repair)
        return
    fault = _record_fault(store, file)
    if fault:
        advice = "delete the file and upload it again, or correct its record by a hotfix"
        yield Finding("I3", Severity.ERROR, _path(file), fault, advice)


def _hash(store: ObjectStore, file: FileRow) -> tuple[str, str]:
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with store.open_file(object_key(file.sha256)) as opened:
        while data := opened.read(_READ_AT_ONCE):
            sha256.update(data)
            md5.update(data)
    return sha256.hexdigest(), md5.hexdigest()


def _record_fault(store: ObjectStore, file: FileRow) -> str:
    """Say in which fields the record is not that of the archive; empty if in none."""
    try:
        stored = json.loads(file.record)
    except ValueError:
        stored = None
    if not isinstance(stored, dict):
        return "the record is no JSON object"
    try:
        with store.open_file(object_key(file.sha256)) as opened:
            archive = read_opened_archive(opened, PackageFilename.parse(file.filename))
    except ObjectMissing:
        return ""
    except BadArchive as error:
        return f"the archive is not one that could be uploaded: {error}"
    if archive.subdir != file.subdir:
        return f"the archive is of the subdir '{archive.subdir}'"
    told = encode_record(
        archive,
        size=file.size,
        md5=file.md5,
        sha256=file.sha256,
        indexed_timestamp=stored.get("indexed_timestamp", 0),
    )
    expected = json.loads(told)
    fields = {key for key in stored | expected if stored.get(key) != expected.get(key)}
    return f"the record has other {', '.join(sorted(fields))} than the archive" if fields else ""


def _name_fault(file: FileRow) -> str:
    try:
        parts = PackageFilename.parse(file.filename)
        check_subdir(file.subdir)
        object_key(file.sha256)
    except (BadFilename, BadName) as error:
        return str(error)
    if (parts.name, parts.version, parts.build) != (file.name, file.version, file.build):
        return f"the row says {file.name} {file.version} {file.build}, which is another name"
    return ""


def _path(file: FileRow) -> str:
    return f"{file.channel}/{file.subdir}/{file.filename}"
