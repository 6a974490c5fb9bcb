"""Which revisions are to be applied, and in which order."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from alembic.runtime.migration import MigrationStep, RevisionStep
from alembic.script import Script
from sqlalchemy import Engine

from quetz.errors import PluginError
from quetz.errors.migrations import RevisionNotFound
from quetz.migrations.positions import Position, looking, read_position
from quetz.migrations.trees import Tree, is_transactional
from quetz.plugins import Plugins

Way = Callable[[Tree, Sequence[str]], Sequence[RevisionStep]]
"""Returns the steps to take from a database's heads."""


@dataclass(frozen=True)
class Step:
    """A revision to apply, or to take back."""

    owner: str
    revision: str
    message: str
    transactional: bool = True

    def __str__(self) -> str:
        return f"{self.revision} ({self.message})"

    def document(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Plan:
    """What would be applied, and the plugins that would be left out."""

    steps: list[Step]
    broken: Mapping[str, PluginError]


def plan_upgrade(engine: Engine, plugins: Plugins, *, to: str | None = None) -> Plan:
    """Return what ``upgrade`` would do.

    Raises:
        SchemaUnknown, SchemaAhead: the database is not one of this version.
        RevisionNotFound: ``to`` names no revision.
    """
    with looking(engine) as connection:
        position = read_position(connection, plugins)
    return Plan(steps_of(position, upwards(to)), plugins.broken | position.tree.broken)


def steps_of(position: Position, way: Way) -> list[Step]:
    tree = position.tree
    return [as_step(tree, step.revision) for step in way(tree, sorted(position.heads))]


def as_step(tree: Tree, script: Script) -> Step:
    owner = tree.owners[script.revision]
    return Step(owner, script.revision, script.doc, is_transactional(script))


def upwards(to: str | None) -> Way:
    """Go to the heads, or to one revision with all that it needs."""

    def way(tree: Tree, heads: Sequence[str]) -> Sequence[RevisionStep]:
        targets = tree.targets() if to is None else [find_revision(tree, to)]
        return [
            MigrationStep.upgrade_from_script(tree.revision_map, tree.get_revision(revision))
            for revision in tree.missing(heads, targets)
        ]

    return way


def downwards(target: str) -> Way:
    """Take back what is above a revision that stays, or ``<owner>@base``."""

    def way(tree: Tree, heads: Sequence[str]) -> Sequence[RevisionStep]:
        return tree._downgrade_revs(target, tuple(heads))  # type: ignore[arg-type]  # noqa: SLF001

    return way


def find_revision(tree: Tree, name: str) -> str:
    """Find by the start of an id, by ``<owner>@head`` or by ``<owner>@<start of an id>``.

    Raises:
        RevisionNotFound: there is none, or there are several.
    """
    owner, at, start = name.rpartition("@")
    if at and owner not in tree.owners.values():
        raise RevisionNotFound(name, f"names '{owner}', which has no migrations here")
    candidates = {
        revision
        for revision, its_owner in tree.owners.items()
        if revision not in tree.orphans and owner in {"", its_owner}
    }
    if at and start == "head":
        candidates, start = candidates.intersection(tree.heads_of(owner)), ""
    found = _starting(candidates, start)
    if len(found) != 1 or (not start and not at):
        reason = f"is the start of several: {', '.join(found)}" if len(found) > 1 else "is unknown"
        raise RevisionNotFound(name, f"{reason}; see: quetz migrations status")
    return found[0]


def _starting(revisions: Iterable[str], start: str) -> list[str]:
    return [start] if start in revisions else sorted(r for r in revisions if r.startswith(start))
