"""Tries a revision out: up, down and up again, on tables with rows."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from quetz.errors.migrations import MigrationFailed, MigrationUnsound, VerificationFailed
from quetz.migrations.authoring.scratch import Scratch
from quetz.migrations.schemas.descriptions import describe
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
        MigrationUnsound: it loses rows, its downgrade leaves a difference, a change of the models
            is left out, or it cannot be run.
    """
    with _telling(scratch, owner):
        rows, before = scratch.seed(), scratch.fingerprint()
        scratch.build(plugins, [revision])
        _check_rows(rows, scratch.rows())
        rows = scratch.seed(without=lost)
        scratch.downgrade(plugins, parent or f"{owner}@base")
        _check_rows(rows, scratch.rows())
        if difference := scratch.fingerprint() ^ before:
            raise _Fault(f"its downgrade leaves a difference: {'; '.join(sorted(difference))}")
        rows = scratch.seed()
        scratch.build(plugins, [revision])
        _check_rows(rows, scratch.rows())
        rest = scratch.changes(plugins, owner)
        if lines := describe(rest, scratch.engine.dialect):
            raise _Fault(f"it leaves out a change of the models: {'; '.join(lines)}")


class _Fault(Exception):
    """What is wrong with the revision."""


@contextmanager
def _telling(scratch: Scratch, owner: str) -> Iterator[None]:
    try:
        yield
    except (_Fault, MigrationFailed, VerificationFailed) as error:
        fault = str(error) if isinstance(error, _Fault) else f"it fails: {error.reason}"
        raise MigrationUnsound(
            owner,
            f"tried on made-up rows in a scratch database on {scratch.place}, {fault}; your "
            "database was left alone; change the models otherwise, or put them back, make a file "
            "with --empty and write the change into it by hand",
        ) from error


def _check_rows(before: Mapping[str, int], after: Mapping[str, int]) -> None:
    for table in before.keys() & after.keys():
        if after[table] != before[table]:
            raise _Fault(
                f"table '{table}' had {before[table]} rows and has {after[table]} after it"
            )
