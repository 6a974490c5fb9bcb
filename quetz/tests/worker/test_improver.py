import json

import pytest

from quetz.conda.pieces import BEST_LEVEL, LEVEL
from quetz.conda.zstd import decompress
from quetz.db.models import Channel
from quetz.services.publishing import (
    CHANNEL_WIDE,
    CHANNELDATA,
    REPODATA,
    REPODATA_ZST,
    Switch,
    list_published,
    mark_dirty,
    read_file,
    read_table,
)
from quetz.testing.factories import make_channel, make_file
from quetz.testing.publishing import publish_all
from quetz.worker import improver
from quetz.worker.improver import Improver


@pytest.fixture
def quiet(monkeypatch):
    """Take every index for a quiet one."""
    monkeypatch.setattr(improver, "QUIET_MS", -1)


@pytest.fixture
def switch(deployment):
    """Publish a channel with packages of two names."""
    with deployment.transaction(write=True) as session:
        channel = make_channel(session)
        for name in ("numpy", "scipy"):
            make_file(session, channel, f"{name}-1-0.conda")
            mark_dirty(session, channel.id, "noarch", name)
    publish_all(deployment)
    return Switch(channel.id, "noarch", REPODATA)


def levels(deployment, switch):
    with deployment.transaction() as session:
        file = list_published(session)[switch].files[REPODATA_ZST]
    table = read_table(deployment.store, file)
    assert table is not None
    return {piece.level for section in table.sections for piece in section}


def document(deployment, switch):
    with deployment.transaction() as session:
        file = list_published(session)[switch].files[REPODATA_ZST]
    data = read_file(deployment.store, file)
    assert data is not None
    return json.loads(decompress(data, 1 << 20))


def test_a_quiet_index_is_compressed_better(deployment, switch, quiet):
    before = document(deployment, switch)
    assert levels(deployment, switch) == {LEVEL}

    Improver(deployment).improve_quiet()

    assert levels(deployment, switch) == {BEST_LEVEL}
    assert document(deployment, switch) == before


def test_channeldata_is_compressed_better_too(deployment, switch, quiet):
    channeldata = Switch(switch.channel_id, CHANNEL_WIDE, CHANNELDATA)
    with deployment.transaction() as session:
        before = list_published(session)[channeldata]

    Improver(deployment).improve_quiet()

    with deployment.transaction() as session:
        assert list_published(session)[channeldata] != before


def test_an_index_that_changed_lately_is_left_alone(deployment, switch):
    Improver(deployment).improve_quiet()

    assert levels(deployment, switch) == {LEVEL}


def test_an_index_that_is_about_to_change_is_left_alone(deployment, switch, quiet):
    with deployment.transaction(write=True) as session:
        mark_dirty(session, switch.channel_id, switch.subdir, "numpy")

    Improver(deployment).improve_quiet()

    assert levels(deployment, switch) == {LEVEL}


def test_a_small_gain_makes_no_new_file(deployment, switch, quiet, monkeypatch):
    monkeypatch.setattr("quetz.services.index_documents.WORTH_IT", 0)

    Improver(deployment).improve_quiet()

    assert levels(deployment, switch) == {LEVEL}


def test_what_was_compressed_better_is_spliced_later(deployment, switch, quiet):
    Improver(deployment).improve_quiet()
    with deployment.transaction(write=True) as session:
        channel = session.get_one(Channel, switch.channel_id)
        make_file(session, channel, "numpy-2-0.conda")
        mark_dirty(session, channel.id, "noarch", "numpy")

    publish_all(deployment)

    assert "numpy-2-0.conda" in document(deployment, switch)["packages.conda"]


def test_a_torn_index_is_built_anew(deployment, switch, quiet):
    with deployment.transaction() as session:
        file = list_published(session)[switch].files[REPODATA_ZST]
    path = deployment.path / "store" / file.key
    path.write_bytes(bytes(path.stat().st_size))

    Improver(deployment).improve_quiet()
    publish_all(deployment)

    assert set(document(deployment, switch)["packages.conda"]) == {
        "numpy-1-0.conda",
        "scipy-1-0.conda",
    }
