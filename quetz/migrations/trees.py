"""The tree of revisions, of quetz and of its plugins.

A plugin whose revisions are unsound is left out of the tree, and stops nobody else. Revisions
that were applied and whose files are gone stand in the tree as stubs, made of the ledger.
"""

from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import ModuleType
from typing import cast

from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import to_tuple

from quetz.errors import PluginError
from quetz.migrations.ledger import Entry, applied_by_ledger
from quetz.plugins import CORE, Plugins

HOME = Path(__file__).parent
SLUG_LENGTH = 40


def make_config(plugins: Plugins) -> Config:
    """Configure Alembic without the database's URL: a configuration is shown in errors."""
    options = {
        "script_location": str(HOME),
        "path_separator": "newline",  # the one character that folders have not in their names
        "version_locations": "\n".join(str(folder) for folder in plugins.migrations.values()),
    }
    config = Config(cmd_opts=Namespace(quiet=True))
    for name, value in options.items():
        config.set_main_option(name, value.replace("%", "%%"))
    return config


class Tree(ScriptDirectory):
    """Alembic's tree, with the owner of each revision.

    ``broken`` has the plugins that are left out, ``orphans`` the stubs.
    """

    def __init__(self, plugins: Plugins) -> None:
        folders: list[str] = [str(folder) for folder in plugins.migrations.values()]
        super().__init__(
            str(HOME),
            version_locations=folders,
            truncate_slug_length=SLUG_LENGTH,
        )
        self.owners: dict[str, str] = {}
        self.broken: dict[str, PluginError] = {}
        self.orphans: frozenset[str] = frozenset()
        self._scripts: list[Script] = []

    def _load_revisions(self) -> Iterator[Script]:
        yield from self._scripts

    def grow(self, scripts: Iterable[Script], owner: str) -> None:
        for script in scripts:
            self._scripts.append(script)
            self.owners[script.revision] = owner

    def scripts_of(self, owner: str) -> list[Script]:
        """Return the owner's revisions, the oldest first."""
        return [
            script
            for script in reversed(list(self.walk_revisions()))
            if self.owners[script.revision] == owner
        ]

    def heads_of(self, owner: str) -> list[str]:
        own = self.scripts_of(owner)
        followed = {parent for script in own for parent in downs(script)}
        return sorted(script.revision for script in own if script.revision not in followed)

    def applied(self, heads: Iterable[str]) -> set[str]:
        """Return the heads and all that is below them.

        Rows of ``alembic_version`` do not tell: a revision that another one depends on has none.
        """
        found: set[str] = set()
        open_ends = list(heads)
        while open_ends:
            revision = open_ends.pop()
            if revision not in found:
                found.add(revision)
                open_ends += self.get_revision(revision)._all_down_revisions  # noqa: SLF001
        return found

    def missing(self, heads: Iterable[str], targets: Iterable[str]) -> list[str]:
        """Return what is not applied of the targets and all below them, each after what it needs.

        The owners come one after another, quetz first.
        """
        seen = self.applied(heads)
        order: list[str] = []
        for target in targets:
            new = self.applied([target]) - seen - self.orphans
            below = {
                revision: new.intersection(self.get_revision(revision)._all_down_revisions)  # noqa: SLF001
                for revision in sorted(new)
            }
            order += TopologicalSorter(below).static_order()
            seen |= new
        return order

    def targets(self) -> list[str]:
        """Return the ends that an upgrade aims at; a stub cannot be applied again."""
        ours = [script for script in self._scripts if script.revision not in self.orphans]
        followed = {parent for script in ours for parent in downs(script)}
        return [script.revision for script in ours if script.revision not in followed]


def load_tree(plugins: Plugins, entries: Sequence[Entry] = ()) -> Tree:
    """Read all revisions; ``entries`` of the ledger stand in for applied ones that are gone.

    Raises:
        PluginError: those of quetz break a rule.
    """
    found: dict[str, list[Script]] = {}
    broken: dict[str, PluginError] = {}
    applied = applied_by_ledger(entries)
    tree = Tree(plugins)
    for owner, folder in plugins.migrations.items():
        try:
            found[owner] = _read(tree, owner, folder)
            _check(owner, found, applied)
        except PluginError as error:
            _leave_out(owner, error, found, broken)
    _leave_out_replaced(found, broken, entries)
    _leave_out_dependents(found, broken, entries)
    while circle := _circle(found, entries):
        _leave_out_circle(circle, found, broken)
        _leave_out_dependents(found, broken, entries)
    for owner, scripts in found.items():
        tree.grow(scripts, owner)
    for stub, owner in _stubs(found, entries):
        tree.grow([stub], owner)
        tree.orphans |= {stub.revision}
    tree.broken = broken
    try:
        tree.get_heads()  # now Alembic connects them
    except (RevisionError, KeyError) as error:
        raise PluginError(CORE, f"its migrations are no tree: {error}") from error
    return tree


def downs(script: Script) -> tuple[str, ...]:
    return script._versioned_down_revisions  # noqa: SLF001


def dependencies(script: Script) -> tuple[str, ...]:
    """Return the revisions and labels of others that have to be applied before."""
    return to_tuple(script.dependencies, default=())


def is_transactional(script: Script) -> bool:
    return bool(getattr(script.module, "transactional", True))


def _read(tree: Tree, owner: str, folder: Path) -> list[Script]:
    scripts = []
    for file in sorted(folder.glob("*.py")):
        try:
            script = Script._from_path(tree, file.absolute())  # noqa: SLF001
        except (Exception, SystemExit) as error:  # a plugin may raise anything
            reason = f"cannot read the migration '{file}': {type(error).__name__}: {error}"
            raise PluginError(owner, reason) from error
        if script is not None:
            scripts.append(script)
    return scripts


def _check(owner: str, found: dict[str, list[Script]], applied: Mapping[str, Entry]) -> None:
    own = {script.revision: script for script in found[owner]}
    if len(own) < len(found[owner]):
        raise PluginError(owner, "has two migrations with the same revision id; remove one")
    for other, scripts in found.items():
        if other != owner and (taken := own.keys() & {script.revision for script in scripts}):
            raise PluginError(owner, f"revision {min(taken)} is one of '{other}' already")
    for script in own.values():
        if strange := set(downs(script)) - own.keys():
            raise PluginError(owner, _fault_of_parent(script, applied.get(min(strange)), owner))
    _check_ends(owner, own)


def _fault_of_parent(script: Script, entry: Entry | None, owner: str) -> str:
    """Tell why a revision that another one follows is none of its plugin's; ``entry`` is its."""
    if entry is not None and entry.owner == owner:
        return (
            f"the file of its revision {entry.revision} ({entry.message}) is missing, which was "
            "applied; put it back"
        )
    return (
        f"revision {script.revision} follows {', '.join(downs(script))}, which is not one of its "
        "own; down_revision names its own revisions, depends_on those of others"
    )


def _check_ends(owner: str, own: dict[str, Script]) -> None:
    roots = [script for script in own.values() if not downs(script)]
    heads = own.keys() - {parent for script in own.values() for parent in downs(script)}
    if own and (not roots or not heads):
        raise PluginError(owner, "its migrations go in a circle")
    for what, several in (("roots", [root.revision for root in roots]), ("heads", list(heads))):
        if len(several) > 1:
            listed = ", ".join(sorted(several))
            raise PluginError(owner, f"has several {what}, {listed}; only one may be left")
    for script in own.values():
        strange = set(script._orig_branch_labels) - {owner}  # noqa: SLF001
        if strange or (script in roots and not script._orig_branch_labels):  # noqa: SLF001
            raise PluginError(
                owner,
                f"revision {script.revision} must say branch_labels = ('{owner}',)"
                if script in roots
                else f"revision {script.revision} must have no other label than '{owner}'",
            )


def _leave_out(
    owner: str,
    error: PluginError,
    found: dict[str, list[Script]],
    broken: dict[str, PluginError],
) -> None:
    if owner == CORE:
        raise error
    found.pop(owner, None)
    broken[owner] = error


def _leave_out_replaced(
    found: dict[str, list[Script]],
    broken: dict[str, PluginError],
    entries: Sequence[Entry],
) -> None:
    """Leave out plugins whose first revision was applied, and is another one now."""
    for stub, owner in _stubs(found, entries):
        if owner != CORE and found.get(owner) and not downs(stub):  # else it is merely older
            reason = f"its first migration {stub.revision} was applied, and is gone; put it back"
            _leave_out(owner, PluginError(owner, reason), found, broken)


def _leave_out_dependents(
    found: dict[str, list[Script]],
    broken: dict[str, PluginError],
    entries: Sequence[Entry],
) -> None:
    """Leave out who depends on what is not there, and then who depends on those."""
    while True:
        scripts = [script for own in found.values() for script in own]
        scripts += [stub for stub, _owner in _stubs(found, entries)]
        known = {script.revision for script in scripts}
        known |= {label for script in scripts for label in script._orig_branch_labels}  # noqa: SLF001
        lacking = [
            (owner, script.revision, name)
            for owner, own in found.items()
            for script in own
            for name in dependencies(script)
            if name not in known
        ]
        if not lacking:
            return
        owner, revision, name = lacking[0]
        reason = (
            f"revision {revision} depends on {name}, which is not there; "
            "install or mend the plugin that has it"
        )
        _leave_out(owner, PluginError(owner, reason), found, broken)


def _circle(found: dict[str, list[Script]], entries: Sequence[Entry]) -> list[Script]:
    """Return revisions of which each needs the one before it, and the first the last."""
    scripts = [script for own in found.values() for script in own]
    scripts += [stub for stub, _owner in _stubs(found, entries)]
    named = {label: script for script in scripts for label in script._orig_branch_labels}  # noqa: SLF001
    named |= {script.revision: script for script in scripts}
    below = {
        script: [named[n] for n in (*downs(script), *dependencies(script)) if n in named]
        for script in scripts
    }
    try:
        TopologicalSorter(below).prepare()
    except CycleError as error:
        circle: list[Script] = error.args[1]
        return circle[:-1]  # which is the first again
    return []


def _leave_out_circle(
    circle: Sequence[Script], found: dict[str, list[Script]], broken: dict[str, PluginError]
) -> None:
    listed = ", ".join(sorted(script.revision for script in circle))
    for owner in [owner for owner, own in found.items() if set(own) & set(circle)]:
        reason = f"revisions {listed} depend on each other in a circle; mend their depends_on"
        _leave_out(owner, PluginError(owner, reason), found, broken)


def _stubs(found: dict[str, list[Script]], entries: Sequence[Entry]) -> list[tuple[Script, str]]:
    present = {script.revision for scripts in found.values() for script in scripts}
    return [
        (_stub(entry), entry.owner)
        for entry in applied_by_ledger(entries).values()
        if entry.revision not in present
    ]


def _stub(entry: Entry) -> Script:
    """Make a revision that has its place in the tree, and cannot be run."""

    def refuse() -> None:
        raise PluginError(entry.owner, f"revision {entry.revision} is not installed")

    module = ModuleType(f"stub_{entry.revision}")
    module.__doc__ = entry.message
    names = {
        "down_revision": entry.down_revision or None,
        "branch_labels": entry.labels or None,
        "depends_on": entry.depends_on or None,
        "upgrade": refuse,
        "downgrade": refuse,
    }
    vars(module).update(cast("dict[str, object]", names))
    return Script(module, entry.revision, "")
