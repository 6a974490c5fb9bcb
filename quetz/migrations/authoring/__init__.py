"""Writes revisions: what the models of an owner have and its migrations do not make."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from alembic.operations.ops import UpgradeOps
from alembic.script import Script
from alembic.util import rev_id as random_id
from sqlalchemy import Engine, ForeignKey
from sqlalchemy.exc import DBAPIError

from quetz.errors import PluginError, QuetzError
from quetz.errors.migrations import MigrationNeeded, MigrationUnsound, PostgreSQLUnseen
from quetz.migrations.authoring.model_rules import (
    check_changes,
    check_models,
    warn_of_equal_rows,
    warn_of_losses,
    warn_of_names,
)
from quetz.migrations.authoring.portability import Change, add_missing, change_of
from quetz.migrations.authoring.proofs import prove
from quetz.migrations.authoring.reference_rules import references_of
from quetz.migrations.authoring.scratch import Scratch, Warn, scratch_databases
from quetz.migrations.authoring.sites import check_is_source
from quetz.migrations.ledger import applied_by_ledger, read_entries
from quetz.migrations.positions import file_of, looking
from quetz.migrations.schemas.descriptions import describe
from quetz.migrations.trees import Tree, load_tree
from quetz.plugins import CORE, Plugins
from quetz.settings import spelt

_REVISION_ID = re.compile(r"(?!(?:heads?|base|current)$)[0-9a-z_]{1,32}")


def make_migration(  # noqa: PLR0913 (they are the options of a command)
    plugins: Plugins,
    *,
    message: str,
    owner: str = CORE,
    initialize: bool = False,
    empty: bool = False,
    output: Path | None = None,
    rev_id: str | None = None,
    check: bool = False,
    like: Engine | None = None,
    warn: Warn = lambda _sentence: None,
) -> Path | None:
    """Write a revision for what changed in the models of ``owner``; None if nothing did.

    The revision is kept if it can be applied, taken back and applied again on scratch databases
    with rows, and leaves nothing to do: on SQLite, and on PostgreSQL if ``like`` is such a
    database. The first revision of quetz is made without ``initialize``. ``empty`` wants a file
    in any case. ``output`` is a folder to write to in place of the owner's. With ``check`` nothing
    is written.

    Raises:
        PluginError: ``owner`` is no plugin in use; it has a revision and ``initialize`` is given,
            or has none and it is not; its models break a rule; it is installed as a copy.
        MigrationNeeded: ``check`` is given, and something changed.
        PostgreSQLUnseen: ``check`` is given, nothing changed on SQLite, and ``like`` cannot tell.
        MigrationUnsound: the revision would not do what it should; no file is left.
    """
    known = [*plugins.migrations, *plugins.broken]
    owner = next((name for name in known if spelt(name) == spelt(owner)), owner)
    place = _find_place(plugins, owner, initialize=initialize)
    _check_folder(place, output, warn, writes=not check)
    revision = _checked_id(place, rev_id)
    references = references_of(plugins, owner)
    check_models(plugins, owner)
    with scratch_databases(like, warn) as databases:
        for scratch in databases:
            scratch.build(plugins, _targets(plugins, place, references))
        found = _changes(databases, plugins, owner)
        if check:
            _refuse_changes(owner, found, databases, like)
        if check or (found.is_empty() and not empty):
            _tell_of_others(plugins, place, databases[0], warn)
            return None
        _refuse_rival(place, like)
        check_changes(owner, found)
        _warn(plugins, owner, found, warn)
        needed = _needed(place, references, databases[0])
        draft = _Draft(place, revision, message, needed, output or place.folder)
        return _write_proven(draft, plugins, databases, _change(found, databases))


@dataclass(frozen=True)
class _Place:
    """Where a revision goes: below ``parent`` in ``tree``, or as the root of its owner."""

    owner: str
    tree: Tree
    folder: Path
    parent: str | None


def _find_place(plugins: Plugins, owner: str, *, initialize: bool) -> _Place:
    if owner in plugins.broken:
        raise plugins.broken[owner]
    if owner not in plugins.migrations:
        known = ", ".join(plugins.migrations)
        raise PluginError(owner, f"is not installed, or not enabled (known: {known})")
    tree = load_tree(plugins)
    if owner in tree.broken:
        raise tree.broken[owner]
    parent = next(iter(tree.heads_of(owner)), None)
    if parent is not None and initialize:
        raise PluginError(owner, f"is initialised already at {parent}; leave out --initialize")
    if parent is None and not initialize and owner != CORE:
        raise PluginError(owner, "has no migration yet; add --initialize to make the first")
    return _Place(owner, tree, plugins.migrations[owner], parent)


def _check_folder(place: _Place, output: Path | None, warn: Warn, *, writes: bool) -> None:
    """Refuse to write into an installed copy, and tell of one that is only looked at."""
    if writes and output is not None:
        return
    try:
        check_is_source(place.owner, place.folder)
    except PluginError:
        if writes:
            raise
        if place.owner != CORE:
            warn(
                f"{place.owner} was compared as it is installed in '{place.folder}', not your "
                "working copy; install that with: pip install -e"
            )


def _warn(plugins: Plugins, owner: str, found: UpgradeOps, warn: Warn) -> None:
    warn_of_names(plugins, owner, warn)
    warn_of_losses(found, warn)
    warn_of_equal_rows(found, warn)


def _refuse_rival(place: _Place, like: Engine | None) -> None:
    """Refuse to follow anything but the newest revision, whose file may be gone.

    Raises:
        MigrationUnsound: the database ``like`` has a revision of which there is no file.
    """
    file = file_of(like) if like is not None else None
    if like is None or (file is not None and not file.exists()):
        return
    try:
        with looking(like) as connection:
            applied = applied_by_ledger(read_entries(connection)).values()
    except (QuetzError, DBAPIError):  # it is not needed for anything else
        return
    for entry in applied:
        if entry.owner == place.owner and entry.revision not in place.tree.owners:
            raise MigrationUnsound(
                place.owner,
                f"the deployment's database has its migration {entry.revision} "
                f"('{entry.message}'), of which there is no file in '{place.folder}'; put "
                f"{entry.revision}_*.py back there, or name another deployment",
            )


def _tell_of_others(plugins: Plugins, place: _Place, scratch: Scratch, warn: Warn) -> None:
    """Name plugins that may have been meant: their models changed, and those of quetz did not.

    What cannot be compared is left out, as it is no matter of quetz.
    """
    others = plugins.migrations.keys() - {CORE} - place.tree.broken.keys()
    for owner in sorted(others if place.owner == CORE else ()):
        try:
            scratch.build(plugins, place.tree.heads_of(owner))
            is_changed = not scratch.changes(plugins, owner).is_empty()
        except QuetzError:
            continue
        if is_changed:
            warn(f"the models of {owner} changed: add --plugin {owner}")


def _checked_id(place: _Place, wanted: str | None) -> str:
    if wanted is None:
        return random_id()
    if not _REVISION_ID.fullmatch(wanted):
        reason = (
            f"the id '{wanted}' must have 1 to 32 of the characters 0-9, a-z and _, "
            "and mean nothing to Alembic"
        )
        raise MigrationUnsound(place.owner, reason)
    if wanted in place.tree.owners:
        reason = f"the id '{wanted}' is taken by a migration of '{place.tree.owners[wanted]}'"
        raise MigrationUnsound(place.owner, reason)
    return wanted


def _targets(plugins: Plugins, place: _Place, references: list[ForeignKey]) -> set[str]:
    """Return the heads that matter here: a revision of another plugin may be unsound."""
    owners = {CORE, place.owner}
    owners |= {plugins.owner_of_table(reference.column.table.name) for reference in references}
    return {head for owner in owners for head in place.tree.heads_of(owner)}


def _changes(databases: list[Scratch], plugins: Plugins, owner: str) -> UpgradeOps:
    found, *others = [scratch.changes(plugins, owner) for scratch in databases]
    for other in others:
        add_missing(found, other)
    return found


def _refuse_changes(
    owner: str, found: UpgradeOps, databases: list[Scratch], like: Engine | None
) -> None:
    """Let a check pass only if it saw all there is to see, and no change."""
    if lines := describe(found, databases[0].engine.dialect):
        raise MigrationNeeded(owner, lines)
    is_postgresql = like is not None and like.dialect.name == "postgresql"
    if is_postgresql and all(scratch.is_sqlite for scratch in databases):
        raise PostgreSQLUnseen(owner)


def _change(found: UpgradeOps, databases: list[Scratch]) -> Change:
    here, *there = [scratch.reflection() for scratch in databases]
    return change_of(found, here, there[0] if there else None)


def _needed(place: _Place, references: list[ForeignKey], scratch: Scratch) -> set[str]:
    """Return the revisions of others that the new one needs, and its parents do not.

    The first of a plugin needs all there is of the core.
    """
    makers = scratch.makers()
    needed = {makers[reference.column.table.name] for reference in references}
    if place.parent is not None:
        return needed - place.tree.applied([place.parent])
    core = [] if place.owner == CORE else place.tree.heads_of(CORE)
    return set(core) | (needed - place.tree.applied(core))


@dataclass(frozen=True)
class _Draft:
    """A revision that is to be written to ``folder``."""

    place: _Place
    revision: str
    message: str
    depends_on: set[str]
    folder: Path


def _write_proven(
    draft: _Draft, plugins: Plugins, databases: list[Scratch], change: Change
) -> Path:
    """Write the file elsewhere and move it only when it is proven: nothing else is ever left.

    Raises:
        MigrationUnsound: it is not what it should be.
    """
    place = draft.place
    code = databases[0].render(change)
    with _staged(plugins, place) as staged:
        try:
            tree = load_tree(staged)
            tree.messaging_opts = {"quiet": True}  # it would print
            script = tree.generate_revision(
                draft.revision,
                draft.message,
                head=place.parent or "base",
                branch_labels=None if place.parent else place.owner,
                version_path=staged.migrations[place.owner],
                depends_on=sorted(draft.depends_on) or None,
                upgrades=code.upgrade,
                downgrades=code.downgrade,
                imports="\n".join(code.imports),
                loses=change.loses(),
            )
            file = Path(cast("Script", script).path)
            target = draft.folder.resolve() / file.name
            _format(file, target)
            for scratch in databases:
                prove(scratch, staged, place.owner, draft.revision, place.parent, lost=change.lost)
        except MigrationUnsound:
            raise
        except (Exception, SystemExit) as error:  # a revision may raise anything
            raise MigrationUnsound(place.owner, str(error)) from error
        return _move(file, target)


@contextmanager
def _staged(plugins: Plugins, place: _Place) -> Iterator[Plugins]:
    """Give the owner a copy of its revisions."""
    with TemporaryDirectory(prefix="quetz-migrations-") as folder:
        versions = Path(folder).resolve() / "versions"
        versions.mkdir()
        if place.folder.is_dir():
            without = shutil.ignore_patterns("__pycache__")
            shutil.copytree(place.folder, versions, ignore=without, dirs_exist_ok=True)
        yield replace(plugins, migrations=plugins.migrations | {place.owner: versions})


def _format(file: Path, target: Path) -> None:
    """Format by the settings of the project that the file goes to."""
    if find_spec("ruff"):
        format_text = [sys.executable, "-m", "ruff", "format", "--quiet"]
        done = subprocess.run(  # noqa: S603
            [*format_text, "--stdin-filename", str(target), "-"],
            input=file.read_bytes(),
            capture_output=True,
            check=True,
        )
        file.write_bytes(done.stdout)


def _move(file: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")  # as no revision is named
    try:
        shutil.copyfile(file, part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target
