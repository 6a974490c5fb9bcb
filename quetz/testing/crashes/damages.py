"""What is brought about behind a server's back, for a crash point to be reached."""

from contextlib import closing

from quetz.db.base import now_ms
from quetz.db.models import ApiKey, DownloadCounts, File, Upload, User
from quetz.db.queries.channels import get_channel
from quetz.db.queries.index import find_state
from quetz.deployment import Deployment
from quetz.services.publishing import decode_files
from quetz.storage.keys import StoreKey, index_key, object_key, parse_index_key
from quetz.testing.crashes.clients import deleting, upload
from quetz.testing.crashes.driver import CHANNEL, Driver

_DAY_MS = 86_400_000
_YEARS_MS = 3 * 365 * _DAY_MS


def miscount(driver: Driver) -> None:
    driver.change_rows("UPDATE channels SET packages_count = packages_count + 1")


def grow_old(driver: Driver) -> None:
    """Let index files be superseded, and published, long ago."""
    driver.change_rows(
        f"UPDATE index_superseded SET superseded_at = superseded_at - {30 * _DAY_MS}"
    )
    driver.change_rows(f"UPDATE index_state SET published_at = published_at - {_DAY_MS}")


def tear_an_index(driver: Driver) -> None:
    """Remove the file of a published index, as a power cut may."""
    with closing(Deployment.open(driver.path)) as deployment:
        key = _published_key(deployment)
        deployment.store.delete_index(key)


def _published_key(deployment: Deployment) -> StoreKey:
    with deployment.transaction() as session:
        state = find_state(session, _channel_id(deployment), "noarch", "repodata")
    assert state is not None
    files = decode_files(state.files)
    return parse_index_key(files["repodata.json.zst"].key)


def _channel_id(deployment: Deployment) -> int:
    with deployment.transaction() as session:
        return get_channel(session, CHANNEL).id


def leave_things_behind(driver: Driver) -> None:
    """Leave what crashes do: an object and an index file that nothing names, a reservation."""
    with closing(Deployment.open(driver.path)) as deployment:
        store, channel_id = deployment.store, _channel_id(deployment)
        with store.stage() as stage:
            stage.write(f"nobody's {driver.number()}".encode())
            store.put(stage, object_key(stage.sha256))
        store.write_index(index_key(channel_id, "noarch", f"left-{driver.number()}"), b"left")
        with deployment.transaction(write=True) as session:
            session.add(Upload(channel_id=channel_id, size=1, expires_at=1))


def delete_a_file(driver: Driver) -> None:
    if (there := upload(driver)) is not None:
        driver.attempt(deleting(CHANNEL, there[0].filename))


def add_old_counts(driver: Driver) -> None:
    with (
        closing(Deployment.open(driver.path)) as deployment,
        deployment.transaction(write=True) as session,
    ):
        at = now_ms() - _YEARS_MS
        file = session.query(File).first()
        assert file is not None
        session.add(DownloadCounts(file_id=file.id, period="H", at=at - driver.number(), count=1))


def add_dead_key(driver: Driver) -> None:
    with (
        closing(Deployment.open(driver.path)) as deployment,
        deployment.transaction(write=True) as session,
    ):
        user, number = session.query(User).first(), driver.number()
        assert user is not None
        made = now_ms() - _YEARS_MS
        session.add(
            ApiKey(
                public_id=f"dead{number:012}",
                secret_hash=f"{number:064x}",
                user_id=user.id,
                created_at=made,
                expires_at=made + 1,
            )
        )
