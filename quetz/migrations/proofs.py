"""Tries a revision out: up, down and up again, on tables with rows."""

from collections.abc import Collection, Mapping

from quetz.errors.migrations import MigrationUnsound
from quetz.migrations.descriptions import describe
from quetz.migrations.scratch import Scratch
from quetz.plugins import Plugins


def prove(
    scratch: Scratch,
    plugins: Plugins,
    owner: str,
    revision: str,
    parent: str | None,
    *,
    lost: Collection[str] = (),
) -> None:
    """Apply the revision, take it back and apply it again.

    Rows of the tables ``lost`` need not come back.

    Raises:
        MigrationUnsound: it loses rows, its downgrade leaves a difference, or a change of the
            models is left out.
        MigrationFailed, VerificationFailed: it cannot be run.
    """
    rows, before = scratch.seed(), scratch.fingerprint()
    scratch.build(plugins, [revision])
    _check_rows(owner, rows, scratch.rows())
    rows = scratch.seed(without=lost)
    scratch.downgrade(plugins, parent or f"{owner}@base")
    _check_rows(owner, rows, scratch.rows())
    if difference := scratch.fingerprint() ^ before:
        listed = "; ".join(sorted(difference))
        raise MigrationUnsound(owner, f"its downgrade leaves a difference: {listed}")
    rows = scratch.seed()
    scratch.build(plugins, [revision])
    _check_rows(owner, rows, scratch.rows())
    rest = scratch.changes(plugins, owner)
    if lines := describe(rest, scratch.engine.dialect):
        where = scratch.engine.dialect.name
        reason = f"on {where} it leaves out a change of the models: {'; '.join(lines)}"
        raise MigrationUnsound(owner, reason)


def _check_rows(owner: str, before: Mapping[str, int], after: Mapping[str, int]) -> None:
    for table in before.keys() & after.keys():
        if after[table] != before[table]:
            raise MigrationUnsound(
                owner, f"table '{table}' had {before[table]} rows and has {after[table]} after it"
            )
