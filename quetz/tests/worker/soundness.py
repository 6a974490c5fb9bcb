"""A deployment in which everything happened that may happen, and what fsck says of one."""

import json
from pathlib import Path
from typing import Any

from sqlalchemy import Executable, select

from quetz.db.models import Channel, File
from quetz.db.queries.channels import get_channel
from quetz.db.queries.packages import get_package
from quetz.deployment import Deployment
from quetz.services import uploads
from quetz.services.channels import NewChannel, create_channel
from quetz.services.copies import Source, copy_file, find_source
from quetz.services.files import delete_file
from quetz.services.packages import NewPackage, create_package, delete_package
from quetz.services.permissions import OPERATOR
from quetz.services.yanks import yank_file
from quetz.storage.keys import object_key
from quetz.testing.packages import build_package
from quetz.testing.publishing import publish_all
from quetz.worker.checks.findings import Finding, Severity
from quetz.worker.fsck import Report, check_deployment
from quetz.worker.sealer import seal_waiting

SUBDIR = "linux-64"
NUMPY = "numpy-1.0-0.conda"


def upload(deployment: Deployment, channel: str, path: Path, *, force: bool = False) -> None:
    """Take the steps of an upload."""
    with deployment.store.stage() as stage:
        stage.write(path.read_bytes())
        stage.finish()
        received = uploads.check_received([(path.name, stage)], None)
        deployment.store.put(stage, object_key(stage.sha256))
    with deployment.transaction(write=True) as session:
        uploads.record(session, deployment.plugins, OPERATOR, channel, received, force=force)


def settle(deployment: Deployment) -> None:
    """Publish and seal all that waits, as a running server does."""
    publish_all(deployment)
    seal_waiting(deployment)


def find_file(session: Any, filename: str, channel: str = "forge") -> File:
    query = select(File).join(Channel, Channel.id == File.channel_id)
    found: File = session.scalars(
        query.where(File.filename == filename, Channel.name == channel)
    ).one()
    return found


def object_of(deployment: Deployment, filename: str) -> Path:
    with deployment.transaction() as session:
        path = deployment.store.path(object_key(find_file(session, filename).sha256))
    assert path is not None
    return path


def fill(deployment: Deployment, folder: Path) -> None:
    """Make channels with packages, yanks, deletions, hotfixes, copies and overwrites."""
    with deployment.transaction(write=True) as session:
        for name, private in (("forge", False), ("secret", True), ("empty", True)):
            create_channel(session, OPERATOR, NewChannel(name, private=private))
        create_package(session, OPERATOR, get_channel(session, "forge"), NewPackage("promised"))
    for version in ("1.0", "1.1", "2.0"):
        exports = {"weak": ["numpy >=1"]}
        options: dict[str, Any] = {"subdir": "linux-64", "run_exports": exports}
        upload(deployment, "forge", build_package(folder, "numpy", version, **options))
    for name in ("scipy", "gone", "buried"):
        upload(deployment, "forge", build_package(folder, name, suffix=".tar.bz2"))
    upload(deployment, "secret", build_package(folder, "hidden"))
    other = build_package(folder, "scipy", suffix=".tar.bz2", files={"a": b"other"})
    upload(deployment, "forge", other, force=True)
    with deployment.transaction(write=True) as session:
        forge = get_channel(session, "forge")
        yank_file(session, OPERATOR, forge, find_file(session, "numpy-1.1-0.conda"), reason="bad")
        delete_file(session, OPERATOR, forge, find_file(session, "gone-1.0-0.tar.bz2"))
        delete_package(session, OPERATOR, forge, get_package(session, forge, "buried"))
    copy(deployment)
    hotfix(deployment, folder)
    settle(deployment)


def copy(deployment: Deployment) -> None:
    source = Source("forge", "numpy", "linux-64", "numpy-2.0-0.conda")
    with deployment.transaction() as session:
        asked = find_source(session, deployment.plugins, OPERATOR, "secret", source)
    with deployment.transaction(write=True) as session:
        copy_file(session, deployment.plugins, OPERATOR, "secret", source, asked=asked, force=False)


def hotfix(deployment: Deployment, folder: Path) -> None:
    fixes = {"numpy-1.0-0.conda": {"depends": ["python"]}}
    document = {
        "patch_instructions_version": 2,
        "packages.conda": fixes,
        "remove": ["numpy-2.0-0.conda"],
    }
    files = {"linux-64/patch_instructions.json": json.dumps(document).encode()}
    upload(deployment, "forge", build_package(folder, "forge-repodata-patches", files=files))


def check(
    deployment: Deployment, *, deep: bool = False, repair: bool = False
) -> tuple[Report, list[Finding]]:
    """Return the report, and the findings that are more than an info."""
    found: list[Finding] = []
    report = check_deployment(
        deployment,
        deep=deep,
        repair=repair,
        tell=lambda finding, _: found.append(finding),
        watch=lambda _done, _total: None,
    )
    return report, [one for one in found if one.severity is not Severity.INFO]


def places(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(one.invariant, one.subject) for one in findings]


def change(deployment: Deployment, *statements: Executable) -> None:
    """Change the database as no service does: without counters, marks or events."""
    with deployment.transaction(write=True) as session:
        for statement in statements:
            session.execute(statement)
