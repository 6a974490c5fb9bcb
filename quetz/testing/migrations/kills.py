"""Kills upgrades at their statements, and looks at what they leave.

Run as a program, since a process of its own has no threads: it can be forked.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import Engine, event
from sqlalchemy.engine import make_url

from quetz.db.engine import open_engine
from quetz.migrations.plans import Step, plan_upgrade
from quetz.migrations.progress import Progress
from quetz.migrations.runs import upgrade
from quetz.plugins import load_plugins
from quetz.testing.databases import database_at
from quetz.testing.migrations.grounds import Ground
from quetz.testing.migrations.snapshots import Snapshot, differences, lost_rows

_READING = ("SELECT", "PRAGMA", "SHOW", "SET")


@dataclass(frozen=True)
class Kills:
    """What to kill: the upgrades of a plugin in the database ``url``, whatever that holds."""

    url: str
    plugin: str

    def run_apart(self) -> list[str]:
        """Return a sentence for each fault."""
        done = subprocess.run(
            [sys.executable, "-m", __name__],
            input=json.dumps(asdict(self)),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        faults: list[str] = json.loads(done.stdout)
        return faults


class Campaign:
    """Kills upgrades on one database; ``whole`` has the states it may be left in, by heads."""

    def __init__(self, kills: Kills) -> None:
        self._url = make_url(kills.url)
        self._plugins = load_plugins([])
        database = database_at(self._url, Path())
        self._engine = open_engine(self._url)
        self._ground = Ground(self._engine, self._plugins, kills.plugin, database.empty)
        self._whole: dict[frozenset[str], Snapshot] = {}

    def faults(self) -> Iterator[str]:
        """Kill one upgrade after another, each later than the one before, until one ends."""
        self._rehearse()
        start, kill_at = self._ground.lay(), 1
        while steps := self._pending():
            failure = self._upgrade(kill_at)
            if failure is not None:
                yield f"after a kill in {steps[0]} the next upgrade fails: {failure}"
                return
            now = self._ground.look()
            found = list(self._check(start, now, steps))
            yield from (f"after a kill in {steps[0]}: {line}" for line in found)
            if found:
                return
            kill_at += 1 + kill_at // 12  # not all, if they are many
            if now.heads != start.heads:
                start, kill_at = self._ground.seed(), 1

    def _rehearse(self) -> None:
        states = [self._ground.lay()]
        for stage in self._ground.stages:
            states.append(self._ground.up(stage, states[-1]).after)
        if self._engine.dialect.name == "sqlite":  # one transaction
            states = [states[0], states[-1]]
        self._whole = {state.heads: state for state in states}

    def _pending(self) -> list[Step]:
        last = self._ground.stages[-1].revision
        return plan_upgrade(self._engine, self._plugins, to=last).steps

    def _check(self, start: Snapshot, now: Snapshot, steps: list[Step]) -> Iterator[str]:
        yield from lost_rows(start, now)
        is_half_done = now.heads == start.heads and not steps[0].transactional
        if self._engine.dialect.name == "postgresql" and is_half_done:
            return  # the next upgrade has to cope with it
        whole = self._whole.get(now.heads)
        if whole is not None:  # else it is on one of several branches
            yield from differences(whole, now)

    def _upgrade(self, kill_at: int) -> str | None:
        """Upgrade in a process that may die of it; return why it failed, unless it was killed."""
        self._engine.dispose()  # processes must not share connections
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            with suppress(BaseException), os.fdopen(writing, "w") as answer:
                answer.write(self._reason_of_failure(kill_at))
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as answer:
            failure = answer.read()
        os.waitpid(child, 0)
        return failure or None

    def _reason_of_failure(self, kill_at: int) -> str:
        countdown = _Countdown(self._engine, kill_at)
        last = self._ground.stages[-1].revision
        try:
            upgrade(self._engine, self._plugins, to=last, watch=countdown.watch, by_models=False)
        except Exception as error:  # noqa: BLE001 (a revision may raise anything)
            return str(error)
        return ""


class _Countdown:
    """Kills this process at a statement that writes; the first step's first one is number 1."""

    def __init__(self, engine: Engine, statements: int) -> None:
        self._left = statements
        self._runs = False
        event.listen(engine, "after_cursor_execute", self._executed)
        event.listen(engine, "commit", self._count)

    def watch(self, progress: Progress) -> None:
        self._runs |= progress.event == "step"

    def _executed(
        self, _connection: object, _cursor: object, statement: str, *_context: object
    ) -> None:
        if not statement.lstrip().upper().startswith(_READING):
            self._count()

    def _count(self, *_connection: object) -> None:
        self._left -= self._runs
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    kills = Kills(**json.load(sys.stdin))
    sys.stdout.write(json.dumps(list(Campaign(kills).faults())))


if __name__ == "__main__":
    main()
