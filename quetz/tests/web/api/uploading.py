"""Uploads, and what they may leave behind."""

from pathlib import Path

from quetz.db.models import Event, File, IndexDirty, Package
from quetz.testing.packages import build_package


def upload(client, key, package: Path, channel="forge", **query):
    return client.post(
        f"/api/channels/{channel}/upload/{package.name}",
        content=package.read_bytes(),
        params=query,
        headers=key,
    )


def other_bytes(folder: Path, **fields) -> Path:
    """Build a package of the same name as another, with other bytes."""
    (folder / "other").mkdir()
    return build_package(folder / "other", **{"files": {"other.txt": b"other"}} | fields)


def count(deployment, model) -> int:
    with deployment.transaction() as session:
        return session.query(model).count()


def left_behind(deployment) -> tuple[int, int, int, int, list[str], list[Path]]:
    """Return what an upload may leave: rows, objects in the store and staging files."""
    staging = deployment.path / "store" / "staging"
    return (
        count(deployment, File),
        count(deployment, Package),
        count(deployment, IndexDirty),
        count(deployment, Event),
        list(deployment.store.list_objects()),
        [path for path in staging.rglob("*") if path.is_file() and path.stat().st_size],
    )
