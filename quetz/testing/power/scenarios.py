"""Uploads, deletions, index runs, a collection and an import, recorded."""

from dataclasses import dataclass
from pathlib import Path

from quetz.deployment import Deployment
from quetz.services.accounts import create_user
from quetz.services.api_keys import create_api_key
from quetz.services.channels import NewChannel, create_channel
from quetz.services.permissions import OPERATOR, Role, principal_of
from quetz.testing.packages import build_package
from quetz.testing.power.commits import marking_commits
from quetz.testing.power.recorder import Recording, record
from quetz.testing.power.steps import (
    Collection,
    Deletion,
    FolderImport,
    IndexRun,
    Step,
    Upload,
    Workplace,
    take_steps,
)

CHANNEL = "power"
IMPORTED = 5


@dataclass(frozen=True)
class Recorded:
    """A recording, and the key of who took its steps."""

    recording: Recording
    key: str


def run_scenario(
    path: Path, scratch: Path, *, uploads: int = 50, deletions: int = 10, index_runs: int = 20
) -> Recorded:
    """Record the scenario on the deployment at ``path``, which nobody has open.

    Packages are built in ``scratch``. Of the uploads every fifth is a form of several files, every
    seventh replaces a file.
    """
    key = _prepare(path)
    steps = plan(scratch, uploads=uploads, deletions=deletions, index_runs=index_runs)
    with record(path) as recording:
        deployment = Deployment.open(path)
        try:
            with marking_commits(deployment.engine, recording):
                take_steps(recording, Workplace(deployment, key), steps)
        finally:
            deployment.close()
    return Recorded(recording, key)


def _prepare(path: Path) -> str:
    deployment = Deployment.open(path)
    try:
        with deployment.transaction(write=True) as session:
            create_channel(session, OPERATOR, NewChannel(CHANNEL, private=False))
            user = create_user(session, OPERATOR, "power", role=Role.OWNER)
            made = create_api_key(
                session, principal_of(user), user, description="", expires_at=None, scopes=None
            )
        return made.key
    finally:
        deployment.close()


def plan(scratch: Path, *, uploads: int, deletions: int, index_runs: int) -> list[Step]:
    """Return the steps: index runs and deletions spread between the uploads."""
    (scratch / "folder" / "noarch").mkdir(parents=True)
    for number in range(IMPORTED):
        build_package(scratch / "folder" / "noarch", "imported", str(number))
    steps: list[Step] = []
    for number in range(uploads):
        steps.append(_upload(scratch, number))
        if _is_due(number, deletions, uploads):
            steps.append(_deletion(next(iter(steps[-1].changes()))))
        if number == uploads // 2:
            steps += [FolderImport(CHANNEL, scratch / "folder"), Collection()]
        if _is_due(number, index_runs, uploads):
            steps.append(IndexRun())
    return steps


def _is_due(number: int, times: int, of: int) -> bool:
    return (number + 1) * times // of > number * times // of


def _deletion(file: str) -> Deletion:
    filename = file.rpartition("/")[2]
    return Deletion(CHANNEL, filename.partition("-")[0], filename)


def _upload(scratch: Path, number: int) -> Upload:
    packages = [_package(scratch, number, b"first")]
    if number % 5 == 1:
        packages += [_package(scratch, number, b"first", build) for build in ("1", "2")]
    if number % 7 == 3:
        return Upload(CHANNEL, dict([_package(scratch, number - 1, b"second")]), force=True)
    return Upload(CHANNEL, dict(packages))


def _package(scratch: Path, number: int, text: bytes, build: str = "0") -> tuple[str, bytes]:
    files = {"share/text": text * 200 * (number % 20 + 1)}
    path = build_package(scratch, f"name{number % 7}", str(number), build, files=files)
    data = path.read_bytes()
    path.unlink()
    return path.name, data
