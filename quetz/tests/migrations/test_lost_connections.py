"""The connection to PostgreSQL is lost while somebody migrates."""

import os
import socket
import threading

import pytest
from sqlalchemy import event, text

from quetz.db.engine import open_engine
from quetz.errors.migrations import MigrationFailed, MigrationUncertain
from quetz.migrations import upgrade
from quetz.tests.migrations.databases import add_revision, head_of, heads_in

pytestmark = pytest.mark.parametrize("databases", ["postgresql"], indirect=True)

# A trigger that fires at the commit, and waits there for a lock.
WAITS_AT_COMMIT = '''\
op.create_table("later", sa.Column("id", sa.Integer))
    op.execute("""CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END'""")
    op.execute("""CREATE CONSTRAINT TRIGGER waits AFTER INSERT ON later
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait()""")
    op.execute("INSERT INTO later VALUES (1)")'''
WAITING = text("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 7 AND NOT granted")


def test_a_commit_whose_answer_is_lost_is_not_called_rolled_back(empty_engine, copied):
    upgrade(empty_engine, copied)
    empty_engine.dispose()
    add_revision(copied, "aaaa", upgrade=WAITS_AT_COMMIT)
    other = open_engine(empty_engine.url)
    drivers = []
    event.listen(empty_engine, "connect", lambda driver, _record: drivers.append(driver))
    with other.connect() as holder:
        holder.execute(text("SELECT pg_advisory_lock(7)"))
        cutter = threading.Thread(target=cut_who_waits, args=(drivers, holder))
        cutter.start()

        with pytest.raises(MigrationUncertain, match=r"'aaaa .* at it or before it"):
            upgrade(empty_engine, copied)

        cutter.join()
        holder.invalidate()
    other.dispose()
    assert upgrade(empty_engine, copied).applied == []  # it was committed
    assert heads_in(empty_engine) == {"aaaa"}


def cut_who_waits(drivers, looking) -> None:
    """Shut the socket of the connection that waits for the lock 7, on this side of it."""
    while not (waiting := looking.scalar(WAITING)):
        pass
    [driver] = [one for one in drivers if one.info.backend_pid == waiting]
    with socket.socket(fileno=os.dup(driver.pgconn.socket)) as reached:
        reached.shutdown(socket.SHUT_RDWR)


def test_a_connection_that_is_lost_before_the_commit_leaves_the_revision_rolled_back(
    empty_engine, copied
):
    upgrade(empty_engine, copied)
    head = head_of(copied)
    end = "op.execute('SELECT pg_terminate_backend(pg_backend_pid())')"
    add_revision(copied, "aaaa", upgrade=f"op.create_table('later'); {end}")

    with pytest.raises(MigrationFailed, match=f"rolled back: .* stands at {head}"):
        upgrade(empty_engine, copied)

    assert heads_in(empty_engine) == {head}
