"""One fault in one scenario, and whether the deployment kept its word."""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import URL

from quetz.testing.faults import DatabaseFault, StoreFault
from quetz.testing.faults.databases import COMMIT, faults_on
from quetz.testing.faults.stores import BEFORE_EFFECT, faults_of
from quetz.tests.faults.scenarios import Scenario, Step, build_packages, fill, settle
from quetz.tests.faults.worlds import Answer, State, Template, World, make_template
from quetz.worker.checks.databases import check_schema
from quetz.worker.checks.findings import Finding, Ground, Severity
from quetz.worker.fsck import CHECKS

REFUSALS = {503, 507}


@dataclass(frozen=True)
class Injection:
    """The fault that call number ``at`` gets; ``call`` is its name in a run without faults."""

    fault: StoreFault | DatabaseFault
    at: int
    call: str

    def __str__(self) -> str:
        return f"{type(self.fault).__name__}.{self.fault.name} at {self.at} ({self.call})"


@dataclass
class Outcome:
    """``refused`` is the first step that was not acknowledged, with its answer."""

    injection: Injection
    met: bool
    refused: tuple[str, Answer] | None = None
    violations: list[str] = field(default_factory=list)


@dataclass
class Course:
    """What happens without a fault: the states between the steps, and in the end."""

    states: list[State]
    indexes: dict[str, Any]
    objects: set[str]
    store_calls: list[str]
    database_calls: list[str]


class Trial:
    """A scenario on a database, to be run again and again."""

    def __init__(self, scenario: Scenario, template: Template) -> None:
        self.scenario = scenario
        self._template = template
        self._course = self._run_without_fault()

    def injections(self) -> Iterator[Injection]:
        """Yield each call with faults before its effect, by turns, and with all that come after.

        A statement's effect is undone with its transaction, so that only a COMMIT has one.
        """
        with self._template.world() as world:
            kinds = [one for one in faults_on(world.deployment.engine) if one.name != "AFTER"]
        for at, call in enumerate(self._course.database_calls, 1):
            yield Injection(kinds[at % len(kinds)], at, call)
            if call == COMMIT:
                yield Injection(DatabaseFault.AFTER, at, call)
        for at, call in enumerate(self._course.store_calls, 1):
            before = [fault for fault in faults_of(call) if fault in BEFORE_EFFECT]
            yield Injection(before[at % len(before)], at, call)
            for fault in faults_of(call):
                if fault not in before:
                    yield Injection(fault, at, call)

    def run(self, injection: Injection) -> Outcome:
        """Run the scenario with a fault, and what follows without one."""
        with self._template.world() as world:
            outcome = Outcome(injection, met=False)
            if isinstance(injection.fault, StoreFault):
                world.store.fail(injection.fault, at=injection.at)
            else:
                world.database.fail(injection.fault, at=injection.at)
            done, answer = self._go(world)
            world.store.trigger.disarm()
            world.database.trigger.disarm()
            outcome.met = bool(world.store.trigger.met or world.database.trigger.met)
            if answer is not None:
                outcome.refused = (self.scenario.steps[done].name, answer)
            outcome.violations = [*self._violations(world, done, answer)]
            return outcome

    def _run_without_fault(self) -> Course:
        with self._template.world() as world:
            states = [world.state()]
            store, database = world.store.trigger, world.database.trigger
            store.calls, database.calls = [], []
            done_by_store, done_by_database = [], []
            for step in self.scenario.steps:
                answer = step.take(world)
                assert answer.status in step.accepted, (step.name, answer)
                done_by_store += store.calls
                done_by_database += database.calls
                states.append(world.state())
                store.calls, database.calls = [], []
            settle(world)
            assert not [*_findings(world)], [*_findings(world)]
            objects = {sha256 for sha256, _ in world.deployment.store.list_objects()}
            return Course(states, world.indexes(), objects, done_by_store, done_by_database)

    def _go(self, world: World) -> tuple[int, Answer | None]:
        """Take steps until one is refused; return which, and the answer."""
        for number, step in enumerate(self.scenario.steps):
            answer = step.take(world)
            if answer.status not in step.accepted:
                return number, answer
        return len(self.scenario.steps), None

    def _violations(self, world: World, done: int, answer: Answer | None) -> Iterator[str]:
        if answer is not None and answer.status < 500:
            yield f"answered {answer.status}: {answer.reason}"
        if answer is not None and "without Retry-After" in answer.reason:
            yield answer.reason
        state, states = world.state(), self._course.states
        steps = self.scenario.steps
        kept = [states[done]] if answer is None else states[done : done + 2]
        if not (answer is not None and steps[done].in_parts) and state not in kept:
            yield f"neither whole nor absent: {_difference(kept[0], state)}"
        if not self.scenario.damaged:
            # No warnings: what is not published or sealed yet may have waited for the others.
            errors = (one for one in _findings(world) if one.severity is Severity.ERROR)
            yield from (f"before the retry: {one}" for one in errors)
        for step in steps[done:]:
            yield from _retry(
                world, step, again=step is steps[done] and state in states[done + 1 :]
            )
        yield from self._end(world)

    def _end(self, world: World) -> Iterator[str]:
        settle(world)
        if (state := world.state()) != self._course.states[-1]:
            yield f"other things in the end: {_difference(self._course.states[-1], state)}"
        yield from (f"in the end: {one}" for one in _findings(world, deep=True))
        if world.indexes() != self._course.indexes:
            yield "other records in the indexes"
        yield from _wrong_bytes(world)
        if self.scenario.damaged:
            objects = {sha256 for sha256, _ in world.deployment.store.list_objects()}
            if objects != self._course.objects:
                yield f"objects: {objects ^ self._course.objects}"


def _retry(world: World, step: Step, *, again: bool) -> Iterator[str]:
    answer = step.take(world)
    if answer.status not in (step.repeated if again else step.accepted):
        yield f"the retry of '{step.name}' was answered {answer.status}: {answer.reason}"


def _findings(world: World, *, deep: bool = False) -> Iterator[Finding]:
    """Yield what fsck finds; nothing here changes the schema, which takes longest to look at."""
    ground = Ground(world.deployment, deep)
    for check in CHECKS:
        if check is not check_schema:
            yield from (one for one in check(ground) if one.severity is not Severity.INFO)


def _wrong_bytes(world: World) -> Iterator[str]:
    with world.deployment.transaction() as session:
        files = session.execute(
            text(
                "SELECT c.name, f.subdir, f.filename, f.sha256 FROM files f "
                "JOIN channels c ON c.id = f.channel_id"
            )
        ).all()
    for channel, subdir, filename, sha256 in files:
        answer = world.client.get(f"/get/{channel}/{subdir}/{filename}")
        if hashlib.sha256(answer.content).hexdigest() != sha256:
            yield f"{channel}/{subdir}/{filename} is served with {answer.status_code}"


def _difference(expected: State, found: State) -> str:
    return "; ".join(
        f"{name}: missing {[*(rows - found[name])]}, more {[*(found[name] - rows)]}"
        for name, rows in expected.items()
        if rows != found[name]
    )


def is_unexpected(outcome: Outcome) -> bool:
    """Say whether the refusal was honest, and yet not the one for what was away."""
    return outcome.refused is not None and outcome.refused[1].status not in REFUSALS


@contextmanager
def trials(
    folder: Path, server: URL | None, scenarios: Iterable[Scenario]
) -> Iterator[list[Trial]]:
    """Prepare scenarios on SQLite, or on a server's database."""
    empty = make_template(folder / "empty", server, build_packages(folder / "packages"))
    base = empty.changed("base", [fill])
    templates = [(base.changed(one.name.replace(" ", "_"), one.before), one) for one in scenarios]
    try:
        yield [Trial(scenario, template) for template, scenario in templates]
    finally:
        for template in (empty, base, *(template for template, _ in templates)):
            template.remove()
