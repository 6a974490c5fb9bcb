"""Applies the steps of one run, one after another, and enters them into the ledger."""

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from importlib.util import decode_source
from pathlib import Path
from typing import Any

from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from sqlalchemy import Connection, event, inspect
from sqlalchemy.exc import DBAPIError, InvalidRequestError

from quetz import __version__
from quetz.crashpoints import crashpoint
from quetz.db.base import now_ms
from quetz.migrations import postgresql
from quetz.migrations.failures import Unsound, reason_of
from quetz.migrations.ledger import (
    Entry,
    Signature,
    applied_by_ledger,
    checksum,
    ensure_ledger,
    finish_running,
    write_entries,
)
from quetz.migrations.plans import Step, Way, as_step
from quetz.migrations.positions import Position
from quetz.migrations.progress import Progress, Watch
from quetz.migrations.sqlite.attachments import Attached, attached, bring_back
from quetz.migrations.transactions import Transaction
from quetz.migrations.trees import Tree, dependencies, downs, make_config
from quetz.migrations.verification import Statements, Witness
from quetz.plugins import Plugins


@dataclass
class Run:
    """What is to be done, and how far it is.

    ``whole`` if all of it is one transaction; ``is_split`` if a revision ended its transaction
    itself. ``is_committing`` a step, on PostgreSQL. ``stands_at`` are the heads that are committed.
    """

    plugins: Plugins
    way: Way
    watch: Watch
    whole: bool
    is_split: bool = False
    is_committing: bool = False
    down: bool = False
    by_models: bool = True
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    steps: list[Step] = field(default_factory=list)
    done: list[Step] = field(default_factory=list)
    stands_at: Sequence[str] = ()
    step: Step | None = None
    backed_up: Path | None = None

    def compared(self) -> set[str]:
        """Return whose tables have to be as their models need them in the end."""
        return {step.owner for step in self.steps} if self.by_models and not self.down else set()

    def reason_of(self, error: BaseException) -> str:
        return reason_of(error, self.plugins.migrations.values())

    def signature(self) -> Signature:
        return Signature.of_this_process(self.run_id, __version__)


class Applying:
    """The steps of a run, one after another; ``heads`` are those reached."""

    def __init__(self, run: Run, connection: Connection, tree: Tree, witness: Witness) -> None:
        self.run = run
        self.connection = connection
        self.tree = tree
        self.witness = witness
        self.heads: Sequence[str] = run.stands_at
        self.statements = Statements()
        self._rows_before = 0
        self._started_at = 0
        self._started = 0.0
        self._tables: set[str] = set()
        self._attached: Attached = {}
        self._reached: tuple[Sequence[str], Entry]

    def apply_all(self) -> None:
        config = make_config(self.run.plugins)
        config.attributes["configure"] = {
            "connection": self.connection,
            "transaction_per_migration": True,  # if the connection is in none
            "on_version_apply": self._applied,
        }

        def work() -> None:
            with EnvironmentContext(config, self.tree, fn=self._steps):
                self.tree.run_env()

        event.listen(self.connection, "after_cursor_execute", self.statements.executed)
        try:
            if self.run.whole:
                work()
                self._check_end()
            else:
                postgresql.persist(work, self.connection, self.run.watch, self._may_repeat)
        except (Exception, SystemExit):
            self._note_failure()
            raise
        finally:
            event.remove(self.connection, "after_cursor_execute", self.statements.executed)

    def _steps(self, heads: tuple[str, ...], context: MigrationContext) -> Iterator[RevisionStep]:
        for step in self.run.way(self.tree, heads):
            self._begin(as_step(self.tree, step.revision), context)
            step.migration_fn = self._in_one_transaction(step.migration_fn)
            yield step
            self._committed()

    def _begin(self, step: Step, context: MigrationContext) -> None:
        self.run.step, self.run.is_committing = step, False
        number, total = len(self.run.done) + 1, len(self.run.steps)
        facts = step.document() | {"number": number, "total": total}
        self.run.watch(Progress("step", f"{number}/{total} {step.owner}: {step}", facts))
        if not self.run.whole:
            postgresql.begin_step(self.connection, transactional=step.transactional)
        self._tables, self._attached = _tables(self.connection), attached(self.connection)
        self.statements.dropped.clear()
        self._rows_before = self.statements.rows
        self._started_at, self._started = now_ms(), time.monotonic()
        if not step.transactional and not self.run.whole:
            write_entries(self.connection, [self._entry("running")])
            vars(context).pop("autocommit_block", None)
        else:
            # On SQLite all is one transaction, and nothing needs to be outside of one.
            allowed = nullcontext if not step.transactional else _refuse_autocommit
            vars(context)["autocommit_block"] = allowed
        if not self.run.whole:
            self.connection.commit()

    def _in_one_transaction(self, change: Callable[..., Any]) -> Callable[..., Any]:
        """Let a function of a revision not end the transaction that it is called in."""
        step = self.run.step
        assert step is not None
        if not step.transactional and not self.run.whole:
            return change

        def watched(*arguments: Any, **options: Any) -> Any:
            transaction = Transaction(self.connection)
            try:
                with transaction.kept_open():
                    return change(*arguments, **options)
            finally:
                self.run.is_split = transaction.is_split

        return watched

    def _applied(self, *, heads: set[str], **_: object) -> None:
        """Check and record a step; Alembic calls this in its transaction."""
        step = self.run.step
        assert step is not None
        bring_back(self.connection, self._attached, self.statements.dropped)
        script = self.tree.get_revision(step.revision)
        verify = getattr(script.module, "verify", None)
        if verify is not None and not self.run.down:
            _verify(self._in_one_transaction(verify), self.connection, step, self.run)
        self.witness.check_step(self.connection)
        crashpoint("migrate.applied")
        entry = self._entry("done")
        if step.transactional or self.run.whole:
            write_entries(self.connection, [entry])
        else:
            finish_running(self.connection, entry, self.run.run_id)
        if step == self.run.steps[-1] and not self.run.whole:
            self._check_end()
        crashpoint("migrate.recorded")
        self._reached = sorted(heads), entry
        self.run.is_committing = not self.run.whole

    def _committed(self) -> None:
        """Note that a step is done: on SQLite, where all is one transaction, as far as it goes."""
        step = self.run.step
        assert step is not None
        self.heads, entry = self._reached
        self.run.done.append(step)
        if not self.run.whole:
            self.run.stands_at = self.heads
        self._tell(step, entry)

    def _tell(self, step: Step, entry: Entry) -> None:
        rows = f"{entry.rows:,} rows, " if entry.rows else ""
        facts = step.document() | {"rows": entry.rows, "seconds": entry.seconds}
        self.run.watch(Progress("stepped", f"    {rows}{entry.seconds:.2f} s", facts))

    def _entry(self, state: str) -> Entry:
        step = self.run.step
        assert step is not None
        now = _tables(self.connection)
        return _entry_of(
            self.tree,
            step.revision,
            self.run,
            direction="down" if self.run.down else "up",
            state=state,
            started_at=self._started_at,
            seconds=None if state == "running" else time.monotonic() - self._started,
            rows=None if state == "running" else self.statements.rows - self._rows_before,
            backup=str(self.run.backed_up or ""),
            tables_created=tuple(sorted(now - self._tables)),
            tables_dropped=tuple(sorted(self._tables - now)),
        )

    def _check_end(self) -> None:
        self.witness.check_triggers(self.connection)
        if self.run.down:
            return
        self.run.watch(Progress("verifying", "Verifying"))
        applied = self.tree.applied(step.revision for step in self.run.steps)
        applied |= self.tree.applied(self.run.stands_at)
        compared = self.run.compared()
        whole = {one for one in compared if applied.issuperset(self.tree.heads_of(one))}
        lacking = self.witness.check_end(self.connection, self.run.plugins, self.statements, whole)
        for line in lacking:
            sentence = f"The database differs from the models, as it did before: {line}"
            self.run.watch(Progress("warning", sentence, {"difference": line}))

    def _may_repeat(self) -> bool:
        step = self.run.step
        return step is None or (step.transactional and not self.run.is_split)

    def _note_failure(self) -> None:
        step = self.run.step
        if step is not None and not step.transactional and not self.run.whole:
            with suppress(DBAPIError, InvalidRequestError):  # the connection may be gone
                self.connection.rollback()
                finish_running(self.connection, run_id=self.run.run_id)
                self.connection.commit()


def _tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


def _verify(
    verify: Callable[[Connection], object], connection: Connection, step: Step, run: Run
) -> None:
    try:
        answer = verify(connection)
    except (Exception, SystemExit) as error:  # as a revision, it may raise anything
        if postgresql.is_passing(error):
            raise
        raise Unsound(f"verify of {step}: {run.reason_of(error)}") from error
    if answer is False:
        raise Unsound(f"verify of {step} says no")


def _refuse_autocommit() -> AbstractContextManager[None]:
    raise RuntimeError("autocommit_block would end the transaction; say transactional = False")


def prepare_ledger(connection: Connection, position: Position, run: Run) -> None:
    """Make the ledger, and enter what was applied before there was one."""
    ensure_ledger(connection)
    finish_running(connection)  # of a process that was killed
    write_entries(
        connection,
        [
            _entry_of(position.tree, revision, run, direction="up", state="baseline")
            for revision in unrecorded(position)
        ],
    )


def unrecorded(position: Position) -> list[str]:
    """Return the applied revisions that the ledger does not know, the oldest first."""
    unknown = position.applied - applied_by_ledger(position.entries).keys()
    scripts = reversed(list(position.tree.walk_revisions())) if unknown else ()
    return [script.revision for script in scripts if script.revision in unknown]


def _entry_of(tree: Tree, revision: str, run: Run, **values: Any) -> Entry:
    script = tree.get_revision(revision)
    source = decode_source(Path(script.path).read_bytes())  # by its coding line, or byte order mark
    owner = tree.owners[revision]
    return run.signature().sign(
        owner=owner,
        dist_version=run.plugins.versions.get(owner, ""),
        revision=revision,
        down_revision=downs(script),
        depends_on=dependencies(script),
        labels=tuple(sorted(script._orig_branch_labels)),  # noqa: SLF001
        message=script.doc,
        checksum=checksum(source),
        script_source=source,
        **values,
    )
