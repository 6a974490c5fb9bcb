"""Let each call of the store and of the database fail once, in six scenarios."""

import logging
import multiprocessing
import tempfile
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.engine import URL, make_url

from benchmarks.figures import Figure, NotRun
from quetz.testing.databases import create_database
from quetz.testing.postgresql import server_folder, server_url
from quetz.tests.faults.runs import Outcome, is_unexpected, trials
from quetz.tests.faults.scenarios import SCENARIOS

PROCESSES = 2
MEMORY = Path("/dev/shm")  # a fault is none of the disk's, and there fsync takes no time


@dataclass(frozen=True)
class Job:
    """A scenario on a database; ``server`` is None for SQLite."""

    scenario: int
    server: str | None
    one_in: int
    folder: Path

    @property
    def name(self) -> str:
        backend = "SQLite" if self.server is None else "PostgreSQL"
        return f"{SCENARIOS[self.scenario].name} on {backend}"


@dataclass
class Done:
    """What became of a job's faults."""

    injections: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)


def measure(scale: float, folder: Path) -> Iterable[Figure | NotRun]:
    """REL-4: what was acknowledged is there, what was refused is whole or absent."""
    with (
        tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else folder) as name,
        server_folder() as place,
    ):
        jobs = list(_jobs(Path(name), server_url(place), max(1, round(1 / scale))))
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
            results = list(pool.map(_run, jobs))
    answers = sum((done.answers for done in results), Counter[str]())
    unexpected = [one for done in results for one in done.unexpected]
    violations = [one for done in results for one in done.violations]
    print(*unexpected[:20], *violations[:20], sep="\n", flush=True)
    count = sum(done.injections for done in results)
    told = ", ".join(f"{number} x {answer}" for answer, number in answers.most_common())
    yield Figure("REL-4 faults injected", [count], "faults", None, told)
    basis = f"{len(SCENARIOS)} scenarios on SQLite and PostgreSQL"
    name = "REL-4 faults after which something was lost, half done or not as told"
    yield Figure(name, [len(violations)], "violations", 0, basis)
    name = "REL-4 faults that were answered 500, or with another refusal than 503 and 507"
    yield Figure(name, [len(unexpected)], "answers", None, "; ".join(unexpected[:3]))


def _jobs(folder: Path, server: URL, one_in: int) -> Iterable[Job]:
    """Yield all jobs, those with many calls first."""
    for scenario in reversed(range(len(SCENARIOS))):
        for backend in ("postgresql", "sqlite"):
            url = None
            if backend == "postgresql":
                database = create_database(server, f"faults{scenario}")
                url = database.render_as_string(hide_password=False)
            yield Job(scenario, url, one_in, folder / f"{backend}-{scenario}")


def _run(job: Job) -> Done:
    for name in ("quetz", "psycopg"):  # they tell of every fault
        logging.getLogger(name).addHandler(logging.NullHandler())
        logging.getLogger(name).propagate = False
    job.folder.mkdir()
    done = Done()
    server = None if job.server is None else make_url(job.server)
    with trials(job.folder, server, [SCENARIOS[job.scenario]]) as [trial]:
        for injection in list(trial.injections())[:: job.one_in]:
            _note(job, trial.run(injection), done)
    print(f"{job.name}: {done.injections} faults", flush=True)
    return done


def _note(job: Job, outcome: Outcome, done: Done) -> None:
    done.injections += 1
    done.answers["ok" if outcome.refused is None else str(outcome.refused[1].status)] += 1
    where = f"{job.name}, {outcome.injection}"
    if not outcome.met:
        done.violations.append(f"{where}: the call never came")
    if is_unexpected(outcome) and outcome.refused is not None:
        step, answer = outcome.refused
        done.unexpected.append(f"{where}: {step} was answered {answer.status} {answer.reason}")
    if outcome.violations:
        done.violations.append(f"{where}: {'; '.join(outcome.violations)[:2000]}")
