"""Applies revisions to a database, and takes them back."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine

from quetz.db.base import now_ms
from quetz.errors import PluginError, QuetzError
from quetz.errors.migrations import (
    MigrationFailed,
    MigrationHalfDone,
    MigrationLocked,
    MigrationSplit,
    MigrationUncertain,
    VerificationFailed,
)
from quetz.migrations import sqlite
from quetz.migrations.applying import Applying, Run, prepare_ledger, unrecorded
from quetz.migrations.failures import Unsound
from quetz.migrations.ledger import Entry, has_ledger
from quetz.migrations.locks import LOCK_SECONDS, alone, is_busy
from quetz.migrations.plans import Step, downwards, steps_of, upwards
from quetz.migrations.positions import (
    Position,
    looking,
    read_position,
    recorded_heads,
    warning_of_edited,
)
from quetz.migrations.progress import Progress, Watch, silent
from quetz.migrations.verification import Witness
from quetz.plugins import Plugins

Backup = Callable[[Connection, Sequence[str]], Path | None]
"""Takes the connection that holds the lock, and the heads; raises BackupFailed to stop."""

# Revisions call functions of the module ``alembic.op``, which serves one run of a process.
_one_run = threading.Lock()


@dataclass(frozen=True)
class Outcome:
    """What was done; ``already`` tells who did it, if somebody else did meanwhile.

    ``broken`` has the plugins that were left out.
    """

    run_id: str
    applied: list[str]
    steps: list[Step]
    heads: list[str]
    backup: Path | None
    seconds: float
    already: str
    broken: Mapping[str, PluginError]


def upgrade(
    engine: Engine,
    plugins: Plugins,
    *,
    to: str | None = None,
    lock_seconds: float = LOCK_SECONDS,
    backup: Backup | None = None,
    watch: Watch = silent,
    by_models: bool = True,
) -> Outcome:
    """Apply what is missing, or what the revision ``to`` needs.

    On SQLite all of it is one transaction, on PostgreSQL each revision is. Others that migrate
    the same database at the same time wait, and then find nothing to do. ``backup`` is called
    before the first change of a database that holds anything. Without ``by_models`` the tables
    may lack what the models have, as they do while a revision is written.

    Raises:
        SchemaUnknown, SchemaAhead: the database is not one of this version; it was left untouched.
        RevisionNotFound: ``to`` names no revision.
        MigrationLocked: somebody else migrates the database, for too long.
        BackupFailed: there is no backup, and nothing was changed.
        MigrationFailed, VerificationFailed: a revision was rolled back.
        MigrationHalfDone: one failed that cannot be rolled back.
    """
    run = Run(plugins, upwards(to), watch, _is_whole(engine), by_models=by_models)
    return _Migration(engine, run, lock_seconds, backup).migrate()


def downgrade(engine: Engine, plugins: Plugins, target: str) -> Outcome:
    """Take back what is above ``target``: a revision that stays, or ``<owner>@base``.

    Raises:
        SchemaUnknown, SchemaAhead, MigrationFailed, MigrationLocked: as ``upgrade``.
    """
    run = Run(plugins, downwards(target), silent, _is_whole(engine), down=True)
    return _Migration(engine, run).migrate()


@dataclass
class _Migration:
    """One call of ``upgrade`` or ``downgrade``."""

    engine: Engine
    run: Run
    lock_seconds: float = LOCK_SECONDS
    backup: Backup | None = None

    def migrate(self) -> Outcome:
        started = time.monotonic()
        run = self.run
        with looking(self.engine) as connection:
            position = read_position(connection, run.plugins)
            expected = steps_of(position, run.way)
            complete = has_ledger(connection) and not unrecorded(position)
        run.stands_at = sorted(position.heads)
        if edited := position.edited():
            run.watch(Progress("warning", warning_of_edited(edited), {"edited": edited}))
        if expected or (position.heads and not complete):
            try:
                with _one_run, alone(self.engine, self.lock_seconds, run.watch) as connection:
                    position = self._perform(connection)
            except (Exception, SystemExit) as error:  # a revision may raise anything
                failure = self._failure(error)
                if failure is error:
                    raise
                raise failure from error
        return Outcome(
            run.run_id,
            [step.revision for step in run.done],
            run.steps,
            list(run.stands_at),
            run.backed_up,
            time.monotonic() - started,
            _told(position.entries) if expected and not run.steps else "",
            dict(run.plugins.broken) | position.tree.broken,
        )

    def _perform(self, connection: Connection) -> Position:
        run = self.run
        with sqlite.transaction(connection) if run.whole else nullcontext():
            position = read_position(connection, run.plugins)
            run.steps = steps_of(position, run.way)
            run.stands_at = heads = sorted(position.heads)
            if not run.whole:
                connection.rollback()  # of the transaction in which it was read
            if run.steps and heads and self.backup is not None:
                self._back_up(connection, self.backup)
            with nullcontext() if run.whole else connection.begin():
                prepare_ledger(connection, position, run)
                witness = Witness.of(connection, run.plugins, run.compared() if heads else ())
            if run.steps:
                applying = Applying(run, connection, position.tree, witness)
                applying.apply_all()
        if run.steps:
            run.stands_at = applying.heads
        return position

    def _back_up(self, connection: Connection, backup: Backup) -> None:
        started = time.monotonic()
        self.run.watch(Progress("backup", "Backing up the database"))
        file = self.run.backed_up = backup(connection, self.run.stands_at)
        if file is not None:
            seconds = time.monotonic() - started
            sentence = f"Backed up to {file} in {seconds:.1f} s"
            facts = {"backup": str(file), "seconds": seconds}
            self.run.watch(Progress("backed-up", sentence, facts))

    def _failure(self, error: BaseException) -> BaseException:
        run, step = self.run, self.run.step
        if isinstance(error, sqlite.LeftOver):
            return VerificationFailed(str(error), run.stands_at)
        if step is None and run.whole and is_busy(error):
            return MigrationLocked(self.lock_seconds, "a server")
        if step is not None and run.is_split:
            return self._failure_of_split(step, error)
        if step is None or isinstance(error, QuetzError):
            return error
        return self._failure_of(step, error)

    def _failure_of_split(self, step: Step, error: BaseException) -> BaseException:
        with looking(self.engine) as connection:
            heads = recorded_heads(connection)  # of SQLite: all before it may be committed
        return MigrationSplit(str(step), self.run.reason_of(error), heads)

    def _failure_of(self, step: Step, error: BaseException) -> BaseException:
        run = self.run
        if run.is_committing and getattr(error, "connection_invalidated", False):
            return MigrationUncertain(str(step), run.reason_of(error))
        if not step.transactional and not run.whole:
            return MigrationHalfDone(str(step), run.reason_of(error), run.stands_at)
        if isinstance(error, Unsound):
            return VerificationFailed(str(error), run.stands_at)
        return MigrationFailed(str(step), run.reason_of(error), run.stands_at)


def _told(entries: Sequence[Entry]) -> str:
    if not entries:
        return ""
    last = entries[-1]
    ago = max(now_ms() - last.started_at, 0) / 1000
    return f"Already migrated by process {last.pid} of {last.actor} on {last.host}, {ago:.0f} s ago"


def _is_whole(engine: Engine) -> bool:
    return engine.dialect.name == "sqlite"
