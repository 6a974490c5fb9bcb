"""What clients ask of a server until it dies; each takes files that nobody else has."""

import json
from collections.abc import Sequence
from urllib.parse import urlencode

from quetz.conda.filenames import PackageFilename
from quetz.services.collecting import ALWAYS_KEPT
from quetz.testing.crashes.driver import CHANNEL, SUBDIR, Driver
from quetz.testing.crashes.histories import DELETED, Change, Place, Request, State, hash_of

OTHER = "other"
BOUNDED = "bounded"
FIXED = "fixed"
WAIT_SECONDS = 20
_BOUNDARY = "crash-boundary"


def uploading(
    channel: str, filename: str, data: bytes, *, force: bool = False, wait: int = 0
) -> Change:
    """Return the change that an upload is; ``wait`` are the seconds to wait for the index."""
    sha256 = hash_of(data)
    query = {"sha256": sha256, "force": str(force).lower()}
    if wait:
        query["wait_for_index"] = str(wait)
    path = f"/api/channels/{channel}/upload/{filename}?{urlencode(query)}"
    return Change(Request("POST", path, data), {Place(channel, SUBDIR, filename): State(sha256)})


def uploading_form(channel: str, files: Sequence[tuple[str, bytes]]) -> Change:
    """Return the change that a form of several files is."""
    parts = [
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n".encode()
        + data
        + b"\r\n"
        for name, data in files
    ]
    body = b"".join(parts) + f"--{_BOUNDARY}--\r\n".encode()
    path = f"/api/channels/{channel}/files/"
    request = Request("POST", path, body, f"multipart/form-data; boundary={_BOUNDARY}")
    return Change(
        request, {Place(channel, SUBDIR, name): State(hash_of(data)) for name, data in files}
    )


def deleting(channel: str, filename: str) -> Change:
    """Return the change that the deletion of a file is."""
    place = Place(channel, SUBDIR, filename)
    return Change(Request("DELETE", _version(place)), {place: None}, DELETED)


def upload(driver: Driver, channel: str = CHANNEL, *, wait: int = 0) -> tuple[Place, bytes] | None:
    """Upload a new file; return it if it was answered."""
    filename, data = driver.new_file()
    if driver.attempt(uploading(channel, filename, data, wait=wait)):
        return Place(channel, SUBDIR, filename), data
    return None


def supersede_often(driver: Driver) -> None:
    """Let indexes be published more often than their former states are kept."""
    for _ in range(ALWAYS_KEPT + 2):
        upload(driver, wait=WAIT_SECONDS)


def upload_bounded(driver: Driver) -> None:
    upload(driver, BOUNDED)


def upload_form(driver: Driver) -> None:
    driver.attempt(uploading_form(CHANNEL, [driver.new_file() for _ in range(3)]))


def upload_again(driver: Driver) -> None:
    """Upload to another channel what one has: its object is there."""
    if (there := upload(driver)) is not None:
        age_objects(driver)
        place, data = there
        driver.attempt(uploading(OTHER, place.filename, data))


def age_objects(driver: Driver) -> None:
    """Let the objects be last touched two days ago."""
    driver.change_rows(f"UPDATE objects SET touched_at = touched_at - {2 * 86_400_000}")


def overwrite(driver: Driver) -> None:
    if (there := upload(driver)) is not None:
        filename, data = driver.build(PackageFilename.parse(there[0].filename).name)
        driver.attempt(uploading(CHANNEL, filename, data, force=True))


def delete_file(driver: Driver) -> None:
    if (there := upload(driver)) is not None:
        driver.attempt(deleting(CHANNEL, there[0].filename))


def delete_package(driver: Driver) -> None:
    name = f"name{driver.number()}"
    files = [driver.build(name, version) for version in ("1.0", "2.0")]
    after = {Place(CHANNEL, SUBDIR, filename): None for filename, _ in files}
    if all(driver.attempt(uploading(CHANNEL, *file)) for file in files):
        path = f"/api/channels/{CHANNEL}/packages/{name}"
        driver.attempt(Change(Request("DELETE", path), after, DELETED))


def delete_channel(driver: Driver) -> None:
    channel = f"gone{driver.number()}"
    try:
        driver.make_channel(channel)
    except OSError:
        return
    if (there := upload(driver, channel)) is not None:
        request = Request("DELETE", f"/api/channels/{channel}")
        driver.attempt(Change(request, {there[0]: None}, DELETED))


def copy(driver: Driver) -> None:
    if (there := upload(driver)) is None:
        return
    place, data = there
    query = {
        "source_channel": place.channel,
        "source_package": PackageFilename.parse(place.filename).name,
        "subdir": place.subdir,
        "filename": place.filename,
    }
    request = Request("POST", f"/api/channels/{OTHER}/packages/copy?{urlencode(query)}")
    copied = State(hash_of(data))
    driver.attempt(Change(request, {place._replace(channel=OTHER): copied}))


def yank_and_restore(driver: Driver) -> None:
    if (there := upload(driver)) is None:
        return
    place, data = there
    for verb, offered in (("yank", False), ("restore", True)):
        request = Request("POST", f"{_version(place)}/{verb}", b"{}", "application/json")
        state = State(hash_of(data), offered)
        if not driver.attempt(Change(request, {place: state})):
            return


def fix(driver: Driver) -> None:
    """Upload hotfixes of a channel, and wait: they are done once there are no newer ones."""
    if (there := upload(driver, FIXED)) is None:
        return
    filename = there[0].filename
    document = {
        "patch_instructions_version": 1,
        "packages.conda": {filename: {"license": "BSD"}},
    }
    files = {f"{SUBDIR}/patch_instructions.json": json.dumps(document).encode()}
    name, data = driver.build(f"{FIXED}-repodata-patches", f"{driver.number()}.0", files=files)
    driver.attempt(uploading(FIXED, name, data, wait=WAIT_SECONDS))


def download(driver: Driver) -> None:
    """Read a package, which is counted."""
    if (there := upload(driver)) is not None:
        driver.try_to_get(f"/get/{'/'.join(there[0])}")


def _version(place: Place) -> str:
    package = PackageFilename.parse(place.filename).name
    return (
        f"/api/channels/{place.channel}/packages/{package}/versions/{place.subdir}/{place.filename}"
    )
