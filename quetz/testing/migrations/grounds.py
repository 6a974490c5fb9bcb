"""A database on which the revisions of one plugin are gone up and down, with rows in all tables."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from alembic.util import to_tuple
from sqlalchemy import Engine, event

from quetz.migrations.authoring.seeds import clear, seed
from quetz.migrations.ledger import read_entries
from quetz.migrations.runs import downgrade, upgrade
from quetz.migrations.trees import Tree, load_tree
from quetz.plugins import CORE, Plugins
from quetz.testing.migrations.snapshots import Snapshot, lost_on_the_way, lost_rows

_UPDATED = re.compile(r"\bUPDATE\s+(?:ONLY\s+)?[\"`\[]?(\w+)", re.IGNORECASE)
_TAKE = "rename it or move its values, or name '{}' in loses of the revision if they shall go"


@dataclass(frozen=True)
class Stage:
    """A revision to stop at; ``below`` is what stays when it is taken back.

    It says that it ``loses`` what is in these, each a table or ``table.column``.
    """

    revision: str
    below: str
    message: str
    loses: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.revision} ({self.message})"


@dataclass(frozen=True)
class Move:
    """What applying a stage did, or taking it back; ``rewritten`` are tables it updated."""

    what: str
    before: Snapshot
    after: Snapshot
    rewritten: Collection[str]

    def losses(self) -> list[str]:
        lost = lost_rows(self.before, self.after, self.rewritten)
        return [f"{self.what}: {line}" for line in lost]

    def unbound_tables(self) -> set[str]:
        """Return the tables that lost a column which must have a value of each row's own.

        When the column comes back, their rows cannot say any more what it was.
        """
        after = self.after.tables
        return {
            table
            for table, contents in self.before.tables.items()
            if table in after and contents.bound - after[table].types.keys()
        }

    def intrusions(self, own: Collection[str]) -> Iterator[str]:
        """Yield a sentence for each table of others than ``own`` that was changed."""
        for table in sorted(self.before.tables.keys() - own):
            parts = self.before.schema_of([table]) ^ self.after.schema_of([table])
            yield from (f"{self.what}: changes {line}" for line in sorted(parts))
            if not parts and self.before.tables[table] != self.after.tables[table]:
                yield f"{self.what}: changes rows of table '{table}'"


def losses_on_the_way(stage: Stage, start: Snapshot, up: Move, down: Move) -> Iterator[str]:
    """Yield a sentence for each value that did not come back, though no one said it is lost.

    Tables that the stage updated are not looked at, on the way up or down.
    """
    rewritten = {*up.rewritten, *down.rewritten}
    for what, sentence in lost_on_the_way(start, down.before, down.after):
        if what.partition(".")[0] not in rewritten and what not in stage.loses:
            yield f"applying and taking back {stage}: {sentence}; {_TAKE.format(what)}"


def stages_of(tree: Tree, owner: str) -> list[Stage]:
    """Return the revisions of the owner that all others are above or below, the oldest first."""
    own = tree.scripts_of(owner)
    applied = [tree.applied([script.revision]) for script in own]
    stages: list[Stage] = []
    for number, script in enumerate(own):
        has_all_before = all(one.revision in applied[number] for one in own[:number])
        if has_all_before and all(script.revision in above for above in applied[number:]):
            below = stages[-1].revision if stages else f"{owner}@base"
            loses = to_tuple(getattr(script.module, "loses", None), default=())
            stages.append(Stage(script.revision, below, script.doc, frozenset(loses)))
    return stages


class Ground:
    """``base`` is how the database is with all that the plugin needs, and nothing of its own."""

    def __init__(
        self, engine: Engine, plugins: Plugins, owner: str, clear: Callable[[], Any]
    ) -> None:
        self.engine = engine
        self.owner = owner
        self.stages = stages_of(load_tree(plugins), owner)
        self.base: Snapshot | None = None
        self._plugins = plugins
        self._clear = clear
        self._updated: set[str] = set()
        self._unfillable: dict[str, set[str]] = {}
        event.listen(engine, "after_cursor_execute", self._executed)

    def lay(self) -> Snapshot:
        """Bring the database to its base, whatever it holds, and return that."""
        if self.base is None or self.look() != self.base:
            self.engine.dispose()
            self._clear()
            for revision in self._needed():
                self._upgrade(revision)
            self.base = self.seed()
        return self.base

    def up(self, stage: Stage, before: Snapshot) -> Move:
        """Apply a stage; ``before`` is how the database is."""
        self._updated.clear()
        self._upgrade(stage.revision)
        move = Move(f"applying {stage}", before, self.look(), frozenset(self._updated))
        self._unfillable[stage.revision] = move.unbound_tables()
        return move

    def down(self, stage: Stage) -> Move:
        """Take back a stage and all above it, without rows where none can be."""
        above = self.stages[self.stages.index(stage) :]
        self._empty(set().union(*(self._unfillable[one.revision] for one in above)))
        before = self.look()
        self._updated.clear()
        downgrade(self.engine, self._plugins, stage.below)
        return Move(f"taking back {stage}", before, self.look(), frozenset(self._updated))

    def seed(self) -> Snapshot:
        """Put rows into the tables that have none."""
        with self.engine.execution_options(write=True).begin() as connection:
            seed(connection)
        return self.look()

    def look(self) -> Snapshot:
        with self.engine.connect() as connection:
            return Snapshot.of(connection)

    def own_tables(self) -> set[str]:
        """Return the tables that revisions of the plugin made, those included that are gone."""
        with self.engine.connect() as connection:
            entries = read_entries(connection)
        own = (entry.tables_created for entry in entries if entry.owner == self.owner)
        return set().union(*own)

    def _needed(self) -> list[str]:
        tree = load_tree(self._plugins)
        needed = tree.applied(stage.revision for stage in self.stages)
        others = set(tree.owners.values()) - {self.owner, CORE}
        return tree.heads_of(CORE) + [
            script.revision
            for other in sorted(others)
            for script in tree.scripts_of(other)
            if script.revision in needed
        ]

    def _empty(self, tables: Iterable[str]) -> None:
        with self.engine.execution_options(write=True).begin() as connection:
            if found := set(tables):
                clear(connection, found)

    def _upgrade(self, revision: str) -> None:
        # Whether the models agree is a test of its own.
        upgrade(self.engine, self._plugins, to=revision, by_models=False)

    def _executed(
        self, _connection: object, _cursor: object, statement: str, *_context: object
    ) -> None:
        self._updated.update(_UPDATED.findall(statement))
