"""REL-1: whatever is malformed is refused by name, and leaves nothing."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.security import mutations, uploads
from benchmarks.security.places import CHANNEL, Place, Reply, file_form, running
from quetz.conda.archives import read_archive
from quetz.errors import QuetzError
from quetz.testing.bad_archives import BAD_ARCHIVES, FILE_NAMES

MUTATIONS = 100_000
BY_HTTP = 0.02  # the share of them that is uploaded, too
CATEGORIES = 16
_TABLES = ("files", "packages", "events", "objects", "uploads", "tombstones", "index_dirty")


def measure(scale: float, folder: Path) -> Iterator[Figure]:
    count = int(MUTATIONS * scale)
    with running(folder / "server") as place:
        faults: list[str] = []
        categories = Counter(kind.category for kind in BAD_ARCHIVES.values())
        faults += _watched(place, _archives(place, folder))
        for category, cases in uploads.CASES.items():
            found = list(cases(place))
            categories[category] = len(found)
            faults += _watched(place, _refusals(found))
        least = min(categories.values())
        named = f"{categories.total()} in {len(categories)} categories of {least} or more"
        yield _figure(
            "malformed uploads accepted, not refused by name, or that left something", faults, named
        )
        yield _figure("categories too few", [""] * (CATEGORIES - len(categories)), named)
        faults = list(_parse(count, folder))
        yield _figure(
            "mutations that crash the parser", faults, f"{count} mutations of sound files"
        )
        faults = list(_upload(place, int(count * BY_HTTP), folder))
        yield _figure("mutations answered 5xx", faults, f"{int(count * BY_HTTP)} uploads")


def _figure(what: str, faults: list[str], basis: str) -> Figure:
    print(*faults[:20], sep="\n", end="\n" if faults else "", flush=True)
    return Figure(f"REL-1 {what}", [len(faults)], "faults", 0, basis)


def _archives(place: Place, folder: Path) -> Iterator[str]:
    """Upload each bad archive by each route."""
    for name, kind in BAD_ARCHIVES.items():
        path, filename = kind.build(folder)
        content = path.read_bytes()
        for send in _ROUTES[: 1 if kind.category == FILE_NAMES else None]:
            reply = send(place, filename, content)
            if reply.status != 422 or kind.fault not in str(reply.json()["detail"]):
                yield f"{name}: {reply.status} {reply.body[:200]!r}"


def _by_form(place: Place, filename: str, content: bytes) -> Reply:
    body, kind = file_form(filename.encode().decode("latin-1"), content)
    return place.ask("POST", f"/api/channels/{CHANNEL}/files/", body, Content_Type=kind)


def _raw(place: Place, filename: str, content: bytes) -> Reply:
    return place.ask("POST", f"/api/channels/{CHANNEL}/upload/{filename}", content)


_ROUTES: list[Callable[[Place, str, bytes], Reply]] = [_by_form, _raw]


def _refusals(replies: Iterable[tuple[str, Reply]]) -> Iterator[str]:
    for name, reply in replies:
        if not 400 <= reply.status < 500:
            yield f"{name}: {reply.status} {reply.body[:200]!r}"


def _watched(place: Place, faults: Iterable[str]) -> list[str]:
    """Return the faults, and one more if anything was left in the database or the store."""
    before = _left(place)
    found = list(faults)
    after = _left(place)
    return found if after == before else [*found, f"left something: {before} became {after}"]


def _left(place: Place) -> dict[str, int]:
    store = place.deployment / "store"
    with closing(sqlite3.connect(place.deployment / "quetz.sqlite")) as database:
        counts = {
            table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in _TABLES
        }
    counts["store"] = sum(1 for path in (store / "objects").rglob("*") if path.is_file())
    return counts


def _parse(count: int, folder: Path) -> Iterator[str]:
    path = folder / "mutation"
    for filename, content in mutations.make(count, seed=1):
        path.write_bytes(content)
        try:
            archive = read_archive(path, filename)
        except QuetzError:
            continue
        except Exception as error:  # noqa: BLE001  whatever it is, it is what we look for
            kept = folder.parent / f"crash-{hash(content):x}"
            kept.write_bytes(content)
            yield f"{type(error).__name__}: {error}: {kept}"
            continue
        if str(archive.filename) != filename or archive.index["name"] != archive.filename.name:
            yield f"another name was accepted as {filename}"


def _upload(place: Place, count: int, folder: Path) -> Iterator[str]:
    for filename, content in mutations.make(count, seed=2):
        reply = _ROUTES[len(content) % 2](place, filename, content)
        if reply.status >= 500:
            yield f"{filename}: {reply.status} {reply.body[:200]!r}"
