"""Sealing beside the requests, by several at once, and through a crash."""

import os
import subprocess
import sys
import threading
import time

import pytest
from sqlalchemy import insert, select

from quetz.db.models import Event
from quetz.db.queries.events import has_unsealed
from quetz.deployment import Deployment
from quetz.services.events import record_event
from quetz.services.permissions import ANONYMOUS
from quetz.services.seals import BATCH, verify_seals
from quetz.worker.sealer import Sealer, seal_waiting

SECONDS = 30


def record(deployment, *subjects):
    with deployment.transaction(write=True) as session:
        for subject in subjects:
            record_event(session, ANONYMOUS, "deed", subject=subject)


def positions(deployment):
    with deployment.transaction() as session:
        return list(session.scalars(select(Event.position).order_by(Event.position)))


def wait_until_sealed(deployment):
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        with deployment.transaction() as session:
            if not has_unsealed(session):
                return
        time.sleep(0.02)
    pytest.fail("the events were not sealed")


@pytest.fixture
def sealer(deployment):
    sealer = Sealer(deployment)
    sealer.start()
    yield sealer
    if sealer.is_alive():
        sealer.stop()


def test_what_was_recorded_before_the_start_is_sealed(deployment):
    record(deployment, *map(str, range(20)))
    sealer = Sealer(deployment)

    sealer.start()
    wait_until_sealed(deployment)
    sealer.stop()

    assert positions(deployment) == list(range(1, 21))


def test_events_of_this_process_and_of_others_are_sealed(deployment, sealer, deployment_path):
    other = Deployment.open(deployment_path)

    record(deployment, "ours")
    record(other, "theirs")
    wait_until_sealed(deployment)

    assert positions(deployment) == [1, 2]
    other.close()


def test_what_was_recorded_last_is_sealed_before_the_server_ends(deployment, sealer):
    record(deployment, "last")

    sealer.stop()

    assert positions(deployment) == [1]


def test_several_sealers_and_writers_at_once_make_one_chain(deployment, deployment_path):
    other = Deployment.open(deployment_path)
    sealers = [Sealer(deployment), Sealer(other)]
    writers = [
        threading.Thread(target=lambda where=where: [record(where, "x", "y") for _ in range(15)])
        for where in (deployment, other, deployment)
    ]

    for thread in [*sealers, *writers]:
        thread.start()
    for writer in writers:
        writer.join()
    for sealer in sealers:
        sealer.stop()

    assert positions(deployment) == list(range(1, 91))
    with deployment.transaction() as session:
        assert verify_seals(session) is None
    other.close()


def record_backlog(deployment, number):
    with deployment.engine.execution_options(write=True).begin() as connection:
        connection.execute(insert(Event), [{"actor": "a", "action": "old"}] * number)


def test_a_stop_seals_all_of_a_backlog(deployment, sealer):
    record_backlog(deployment, 2 * BATCH + 1)

    sealer.stop()

    assert positions(deployment) == list(range(1, 2 * BATCH + 2))


def test_others_write_between_the_batches_of_a_backlog(deployment):
    record_backlog(deployment, 2 * BATCH + 1)

    seal_waiting(deployment, rest=lambda _: record(deployment, "between"))

    assert positions(deployment) == list(range(1, 2 * BATCH + 4))


@pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
def test_an_event_that_is_committed_late_gets_a_later_position(deployment):
    writer = deployment.engine.execution_options(write=True)
    with deployment.transaction(write=True) as late:
        record_event(late, ANONYMOUS, "deed", subject="late")
        late.flush()
        with writer.begin() as connection:
            connection.execute(insert(Event).values(actor="a", action="early"))
        seal_waiting(deployment)
    seal_waiting(deployment)

    with deployment.transaction() as session:
        rows = session.execute(select(Event.action, Event.id, Event.position).order_by(Event.id))
        assert [(action, position) for action, _, position in rows] == [("deed", 2), ("early", 1)]


@pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
def test_an_event_that_another_transaction_holds_is_sealed_later(deployment):
    record(deployment, "held", "free")
    held = select(Event).where(Event.subject == "held").with_for_update()

    with deployment.transaction(write=True) as session:
        session.scalars(held).one()
        seal_waiting(deployment)
    seal_waiting(deployment)

    with deployment.transaction() as session:
        rows = session.execute(select(Event.subject, Event.position).order_by(Event.position))
        assert [tuple(row) for row in rows] == [("free", 1), ("held", 2)]


_SEAL = """\
import sys
from pathlib import Path
from quetz.deployment import Deployment
from quetz.worker.sealer import seal_waiting
seal_waiting(Deployment.open(Path(sys.argv[1])))
"""


@pytest.mark.parametrize(
    ("point", "sealed"),
    [
        pytest.param("seal.sealing", 0, id="before the commit"),
        pytest.param("seal.sealed", 3, id="after the commit"),
    ],
)
def test_a_sealer_that_is_killed_leaves_a_chain_to_go_on_with(
    deployment, deployment_path, point, sealed
):
    record(deployment, "a", "b", "c")
    command = [sys.executable, "-c", _SEAL, str(deployment_path)]

    killed = subprocess.run(command, env=os.environ | {"QUETZ_CRASHPOINT": point}, check=False)

    assert killed.returncode == -9
    assert len([one for one in positions(deployment) if one is not None]) == sealed
    record(deployment, "d")
    seal_waiting(deployment)
    assert positions(deployment) == [1, 2, 3, 4]
    with deployment.transaction() as session:
        assert verify_seals(session) is None


def test_reading_the_log_seals_nothing(deployment):
    record(deployment, "a")

    with deployment.transaction() as session:
        verify_seals(session)

    assert positions(deployment) == [None]
