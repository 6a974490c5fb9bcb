"""Applies revisions to a database, and takes them back."""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, MigrationInfo, RevisionStep
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from quetz.errors import (
    QuetzError,
)
from quetz.errors.migrations import (
    MigrationFailed,
)
from quetz.migrations import postgresql, sqlite
from quetz.migrations.revisions import known_heads, load_tree, looking, make_config
from quetz.plugins import Plugins

Plan = Callable[[ScriptDirectory, tuple[str, ...]], Iterable[RevisionStep]]
"""Returns the steps to take from a database's heads, by the methods that ``alembic.command`` uses.

Alembic declares their argument as one head.
"""

Observer = Callable[[Connection, MigrationInfo], None]
"""Called after the work of a step, in its transaction."""

_WRITING = {"sqlite": sqlite.writing, "postgresql": postgresql.writing}

# Revisions call functions of the module ``alembic.op``, which serves one run of a process.
_one_run = threading.Lock()


def upgrade(engine: Engine, plugins: Plugins, observe: Observer | None = None) -> list[str]:
    """Apply what is missing, and return the ids of the revisions applied.

    On SQLite all of it is one transaction, on PostgreSQL each revision is. Others that migrate
    the same database at the same time wait, and then find nothing to do.

    Raises:
        SchemaUnknown: the database is not one of this version; it was left untouched.
        MigrationFailed: a revision failed, and was rolled back.
        MigrationLocked: somebody else migrates the database, for too long.
    """

    def plan(tree: ScriptDirectory, heads: tuple[str, ...]) -> Iterable[RevisionStep]:
        return tree._upgrade_revs("heads", heads)  # type: ignore[arg-type]  # noqa: SLF001

    return _migrate(engine, plugins, plan, observe)


def downgrade(engine: Engine, plugins: Plugins, target: str) -> list[str]:
    """Take back what is above ``target``: a revision that stays, or ``<owner>@base``.

    Raises:
        SchemaUnknown, MigrationFailed, MigrationLocked: as ``upgrade``.
    """

    def plan(tree: ScriptDirectory, heads: tuple[str, ...]) -> Iterable[RevisionStep]:
        return tree._downgrade_revs(target, heads)  # type: ignore[arg-type]  # noqa: SLF001

    return _migrate(engine, plugins, plan, None)


def _migrate(engine: Engine, plugins: Plugins, plan: Plan, observe: Observer | None) -> list[str]:
    config, tree = make_config(plugins), load_tree(plugins)
    with looking(engine) as connection:
        known_heads(connection, tree)
    run = _Run(tree, plan, observe, whole=engine.dialect.name == "sqlite")
    try:
        with _one_run, _WRITING[engine.dialect.name](engine) as connection:
            run.stands_at = known_heads(connection, tree)
            if not run.whole:
                connection.rollback()  # of the transaction in which the heads were read
            config.attributes["configure"] = {
                "connection": connection,
                "transaction_per_migration": True,  # if the connection is in none
                "on_version_apply": run.applied,
            }
            with EnvironmentContext(config, tree, fn=run.steps):
                tree.run_env()
    except (Exception, SystemExit) as error:  # a revision may raise anything
        if run.step is None or isinstance(error, QuetzError):
            raise
        raise MigrationFailed(_shown(run.step), _reason(error), run.stands_at) from error
    return run.revisions


@dataclass
class _Run:
    """What was done so far; ``whole`` if all of it is one transaction."""

    tree: ScriptDirectory
    plan: Plan
    observe: Observer | None
    whole: bool
    stands_at: set[str] = field(default_factory=set)
    step: RevisionStep | None = None
    revisions: list[str] = field(default_factory=list)

    def steps(self, heads: tuple[str, ...], _context: MigrationContext) -> Iterator[RevisionStep]:
        for step in self.plan(self.tree, heads):
            self.step = step
            yield step

    def applied(
        self, *, ctx: MigrationContext, step: MigrationInfo, heads: set[str], **_: object
    ) -> None:
        """Note a step; Alembic calls this in its transaction."""
        self.revisions.append(str(step.up_revision_id))
        if not self.whole:
            self.stands_at = heads
        if self.observe is not None and ctx.connection is not None:
            self.observe(ctx.connection, step)


def _reason(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"SystemExit: {error}"
    return " ".join(str(getattr(error, "orig", None) or error).split()) or type(error).__name__


def _shown(step: RevisionStep) -> str:
    return f"{step.revision.revision} ({step.revision.doc})"
