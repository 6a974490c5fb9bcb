"""Writes revisions: what the models of an owner have and its migrations do not make."""

import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import cast

from alembic import command
from alembic.autogenerate import render_python_code
from alembic.script import Script, ScriptDirectory
from alembic.util import rev_id
from sqlalchemy import ForeignKey

from quetz.db.base import Base
from quetz.errors import (
    PluginError,
)
from quetz.errors.migrations import (
    MigrationUnsound,
)
from quetz.migrations.revisions import load_tree, make_config
from quetz.migrations.scratch import Scratch, scratch_database
from quetz.plugins import CORE, Plugins


def make_migration(
    plugins: Plugins, *, message: str, owner: str = CORE, initialize: bool = False
) -> Path | None:
    """Write a revision for what changed in the models of ``owner``; None if nothing did.

    The revision is kept if it can be applied, taken back and applied again on a scratch database,
    and leaves nothing to do. That is a SQLite database: nothing is tried on PostgreSQL. The first
    revision of quetz is made without ``initialize``.

    Raises:
        PluginError: ``owner`` is no plugin in use; it has a revision and ``initialize`` is given,
            or has none and it is not; a foreign key of its models would bind quetz.
        MigrationUnsound: the revision would not do what it should; no file is left.
    """
    place = _find_place(plugins, owner, initialize=initialize)
    with scratch_database(plugins, owner) as scratch:
        references = _references(plugins, owner)
        _check_references(plugins, owner, references)
        if scratch.changes().is_empty():
            return None
        revision = rev_id()
        try:
            file = _write(scratch, place, references, revision, message)
            _prove(scratch, place)
        except BaseException as error:
            for written in place.folder.glob(f"{revision}_*.py"):
                written.unlink()
            if isinstance(error, Exception) and not isinstance(error, MigrationUnsound):
                raise MigrationUnsound(owner, str(error)) from error
            raise
    return file


@dataclass(frozen=True)
class _Place:
    """Where a revision goes: below ``parent`` in ``tree``, or as the root of its owner."""

    tree: ScriptDirectory
    folder: Path
    parent: str | None


def _find_place(plugins: Plugins, owner: str, *, initialize: bool) -> _Place:
    if owner not in plugins.migrations:
        known = ", ".join(plugins.migrations)
        raise PluginError(owner, f"is not installed, or not enabled (known: {known})")
    tree = load_tree(plugins)
    heads = _heads(plugins, tree, owner)
    if len(heads) > 1:
        raise PluginError(owner, f"has several heads, {', '.join(heads)}; only one may be left")
    parent = heads[0] if heads else None
    if parent is not None and initialize:
        raise PluginError(owner, f"is initialised already at {parent}; leave out --initialize")
    if parent is None and not initialize and owner != CORE:
        raise PluginError(owner, "has no migration yet; add --initialize to make the first")
    return _Place(tree, plugins.migrations[owner], parent)


def _heads(plugins: Plugins, tree: ScriptDirectory, owner: str) -> list[str]:
    scripts = (tree.get_revision(head) for head in tree.get_heads())
    return sorted(
        script.revision
        for script in scripts
        if Path(script.path).parent == plugins.migrations[owner]
    )


def _references(plugins: Plugins, owner: str) -> list[ForeignKey]:
    """List the foreign keys of the owner's models to tables of others."""
    return [
        reference
        for table in Base.metadata.sorted_tables
        if plugins.owner_of_table(table.name) == owner
        for reference in table.foreign_keys
        if plugins.owner_of_table(reference.column.table.name) != owner
    ]


def _check_references(plugins: Plugins, owner: str, references: list[ForeignKey]) -> None:
    """Refuse references that would keep quetz from deleting a row, or from changing a column."""
    for reference in references:
        if plugins.owner_of_table(reference.column.table.name) != CORE:
            continue
        if not reference.column.primary_key or reference.ondelete not in {"CASCADE", "SET NULL"}:
            raise PluginError(
                owner,
                f"the foreign key from {reference.parent} to {reference.column} must refer to a "
                "primary key, with ondelete CASCADE or SET NULL",
            )


def _write(
    scratch: Scratch, place: _Place, references: list[ForeignKey], revision: str, message: str
) -> Path:
    needed = {scratch.makers[reference.column.table.name][1] for reference in references}
    if place.parent is None:
        needed |= set(_heads(scratch.plugins, place.tree, CORE))
    else:
        needed -= {script.revision for script in place.tree.iterate_revisions(place.parent, "base")}
    config = make_config(scratch.plugins)
    with scratch.engine.connect() as connection:
        config.attributes["configure"] = {"connection": connection, **scratch.options()}
        written = command.revision(
            config,
            message,
            autogenerate=True,
            rev_id=revision,
            version_path=place.folder,
            head=place.parent or "base",
            branch_label=None if place.parent else scratch.owner,
            depends_on=sorted(needed) or None,  # type: ignore[arg-type]  # it takes several
        )
    file = Path(cast("Script", written).path)
    if find_spec("ruff"):
        format_file = [sys.executable, "-m", "ruff", "format", "--quiet", str(file)]
        subprocess.run(format_file, check=True)  # noqa: S603
    return file


def _prove(scratch: Scratch, place: _Place) -> None:
    before = scratch.fingerprint()
    scratch.upgrade()
    scratch.downgrade(place.parent or f"{scratch.owner}@base")
    if difference := scratch.fingerprint() ^ before:
        raise MigrationUnsound(
            scratch.owner, f"its downgrade leaves a difference: {'; '.join(sorted(difference))}"
        )
    scratch.upgrade()
    rest = scratch.changes()
    if not rest.is_empty():
        code = render_python_code(rest, render_as_batch=True)
        raise MigrationUnsound(scratch.owner, f"it leaves out a change of the models:\n{code}")
