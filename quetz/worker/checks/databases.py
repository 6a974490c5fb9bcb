"""The database as a whole: references, seals, schema and pages (I9, I10, I14)."""

from collections.abc import Iterator
from datetime import UTC, datetime

from quetz.db.base import now_ms
from quetz.db.models import Event
from quetz.db.queries import checks as queries
from quetz.deployment import database_failures
from quetz.migrations.status import read_status
from quetz.services.seals import verify_seals
from quetz.worker.checks.findings import Finding, Ground, Severity
from quetz.worker.checks.indexes import PATIENCE_MS

_RESTORE = "stop all servers and restore a backup: quetz migrations restore"


def check_schema(ground: Ground) -> Iterator[Finding]:
    """I14: the schema is that of this version. Without ``on_mismatch = "ignore"`` it surely is."""
    deployment = ground.deployment
    with database_failures():
        status = read_status(deployment.engine, deployment.plugins)
    if status.state != "current":
        what = f"the schema is {status.state}{status.reason and f': {status.reason}'}"
        yield Finding("I14", Severity.ERROR, "database", what, "run quetz init-db")


def check_pages(ground: Ground) -> Iterator[Finding]:
    """I14: SQLite finds its file in order."""
    with ground.deployment.transaction() as session:
        lines = queries.check_pages(session, deep=ground.deep)
    for line in lines:
        yield Finding("I14", Severity.ERROR, "database", f"SQLite says: {line}", _RESTORE)


def check_references(ground: Ground) -> Iterator[Finding]:
    """I9: foreign keys hold."""
    with ground.deployment.transaction() as session:
        broken = queries.list_broken_references(session)
        unvalidated = queries.list_unvalidated(session)
    for table, parent, count in broken:
        what = f"{count:,} rows refer to rows of {parent} that are not there"
        advice = "find out who writes to the database with foreign keys off; restore a backup"
        yield Finding("I9", Severity.ERROR, table, what, advice)
    for table, constraint in unvalidated:
        what = f"the constraint {constraint} was never validated"
        advice = f"ALTER TABLE {table} VALIDATE CONSTRAINT {constraint}"
        yield Finding("I9", Severity.WARNING, table, what, advice)


def check_seals(ground: Ground) -> Iterator[Finding]:
    """I10: the chain of seals is unbroken, and no event waits long for its seal."""
    before = now_ms() - PATIENCE_MS
    with ground.deployment.transaction() as session:
        broken = verify_seals(session)
        waiting, oldest = queries.find_oldest_unsealed(session, before=before)
        ground.looked_at["events"] += queries.count_rows(session, Event)
    if broken is not None:
        what = f"the chain of seals is broken at position {broken}"
        advice = "an event was changed, removed or added: compare with an export of the log"
        yield Finding("I10", Severity.ERROR, "events", what, advice)
    if waiting and oldest is not None:
        at = datetime.fromtimestamp(oldest / 1000, tz=UTC)
        what = f"{waiting:,} events have no seal, the oldest of {at:%Y-%m-%d %H:%M:%S}Z"
        advice = "start a server, which seals them, or look into its log"
        yield Finding("I10", Severity.WARNING, "events", what, advice)
