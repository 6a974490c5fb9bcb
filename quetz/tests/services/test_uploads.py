import hashlib

import pytest

from quetz.conda.archives import read_archive
from quetz.db.models import File
from quetz.errors import QuotaExceeded
from quetz.plugins import load_plugins
from quetz.services.permissions import principal_of
from quetz.services.quotas import plan, reserve
from quetz.services.uploads import Received, record
from quetz.testing.factories import make_channel, make_user
from quetz.testing.packages import build_package

LIMIT = 1 << 30


def received(folder, **fields) -> Received:
    path = build_package(folder, **fields)
    data = path.read_bytes()
    return Received(
        read_archive(path, path.name),
        len(data),
        hashlib.sha256(data).hexdigest(),
        hashlib.md5(data).hexdigest(),
    )


@pytest.fixture
def owner(session):
    return make_user(session, "alice")


@pytest.fixture
def channel(session, owner):
    return make_channel(session, "forge", owner=owner)


def test_counters_follow_what_is_stored(session, owner, channel, tmp_path):
    first, second = received(tmp_path), received(tmp_path, files={"a": b"longer" * 100})
    principal = principal_of(owner)

    record(session, load_plugins([]), principal, "forge", [first])
    record(session, load_plugins([]), principal, "forge", [second], force=True)

    session.refresh(channel)
    assert (channel.size, channel.packages_count) == (second.size, 1)
    assert session.query(File).one().sha256 == second.sha256


def test_what_others_have_reserved_is_no_room(session, owner, tmp_path):
    channel = make_channel(session, "small", owner=owner, size_limit=1000)
    reserve(session, "small", 900)

    with pytest.raises(QuotaExceeded, match="1000"):
        plan(session, "small", declared=101, limit=LIMIT, filename="pkg-1.0-0.conda")

    raw = plan(session, "small", declared=100, limit=LIMIT, filename="pkg-1.0-0.conda")
    assert raw.limit == 100
    assert channel.size == 0


def test_a_reservation_is_used_up_by_its_own_upload(session, owner, tmp_path):
    item = received(tmp_path)
    make_channel(session, "small", owner=owner, size_limit=item.size)
    reservation = reserve(session, "small", item.size)

    outcomes = record(
        session, load_plugins([]), principal_of(owner), "small", [item], reservation=reservation
    )

    assert outcomes[0].change is not None
