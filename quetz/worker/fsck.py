"""The check of a whole deployment, beside its servers, and the repairs of what it finds."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from quetz.crashpoints import crashpoint
from quetz.db.models import File
from quetz.db.queries.checks import count_rows
from quetz.db.queries.index import has_mark
from quetz.deployment import Deployment
from quetz.services.permissions import OPERATOR
from quetz.services.publishing import EVERYTHING, Switch
from quetz.services.repairs import Repair, SetAside, apply_repair, note_set_aside
from quetz.storage.keys import object_key
from quetz.worker.checks import databases, files, indexes, names, objects, packages, stores
from quetz.worker.checks.findings import Check, Finding, Ground, Severity
from quetz.worker.publisher import BUSY_SECONDS, lease, publish

CHECKS: Final[tuple[Check, ...]] = (
    databases.check_schema,
    databases.check_pages,
    databases.check_references,
    databases.check_seals,
    names.check_names,
    names.check_tombstones,
    files.check_files,
    packages.check_counters,
    packages.check_empty_packages,
    stores.check_store,
    objects.check_unreferenced,
    objects.check_reservations,
    indexes.check_indexes,
    indexes.check_marks,
)

_log = logging.getLogger("quetz.fsck")

MOST_TOLD = 1_000
"""How many findings of one invariant are told; all others are counted."""

Tell = Callable[[Finding, bool], None]
"""Hears of a finding, and whether it was repaired."""

Watch = Callable[[int, int], None]
"""Hears of how many files are done, and how many there are."""


@dataclass
class Report:
    """How many findings there were of each severity, how many errors are left, and of what."""

    looked_at: Counter[str]
    found: Counter[Severity] = field(default_factory=Counter)
    repaired: int = 0
    untold: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def errors_left(self) -> int:
        return self.found[Severity.ERROR] - self.repaired


def check_deployment(
    deployment: Deployment, *, deep: bool, repair: bool, tell: Tell, watch: Watch
) -> Report:
    """Look at everything, and tell what is wrong as it is found."""
    started = time.monotonic()
    with deployment.transaction() as session:
        total = count_rows(session, File)
    done = 0

    def step(files: int) -> None:
        nonlocal done
        done += files
        watch(done, max(done, total))

    ground = Ground(deployment, deep, step)
    report = Report(ground.looked_at)
    tried: dict[Repair, bool] = {}
    told: Counter[str] = Counter()
    for check in CHECKS:
        for finding in check(ground):
            mended = repair and finding.repair is not None and _mend(deployment, finding, tried)
            report.found[finding.severity] += 1
            report.repaired += mended
            told[finding.invariant] += 1
            if told[finding.invariant] <= MOST_TOLD:
                tell(finding, mended)
            else:
                report.untold[finding.invariant] += 1
    report.seconds = time.monotonic() - started
    return report


def _mend(deployment: Deployment, finding: Finding, tried: dict[Repair, bool]) -> bool:
    """Repair what was found, once for all findings that it mends; say whether that was done."""
    repair = finding.repair
    assert repair is not None
    if repair not in tried:
        try:
            tried[repair] = _apply(deployment, repair)
        except Exception:  # noqa: BLE001  the finding stays, and the others are looked at
            _log.exception("cannot repair %s", finding.subject)
            tried[repair] = False
    return tried[repair]


def _apply(deployment: Deployment, repair: Repair) -> bool:
    if isinstance(repair, SetAside):
        return _set_aside(deployment, repair.sha256)
    with deployment.transaction(write=True) as session:
        apply_repair(session, OPERATOR, repair)
        crashpoint("repair.applying")
    crashpoint("repair.applied")
    if isinstance(repair, Switch):
        _publish(deployment, repair)
    return True


def _set_aside(deployment: Deployment, sha256: str) -> bool:
    """Move damaged bytes aside, outside of a transaction: to read them again may take long."""
    place = deployment.store.set_aside(object_key(sha256))
    if place is None:  # they were put anew since they were found
        return True
    with deployment.transaction(write=True) as session:
        note_set_aside(session, OPERATOR, sha256, place)
    _log.warning("moved the damaged bytes of the object %s to store/%s", sha256, place)
    return True


def _publish(deployment: Deployment, switch: Switch) -> None:
    """Return once the switch is built anew: here, or by a server that is at it."""
    place = (switch.channel_id, switch.subdir, switch.family)
    while True:
        with deployment.transaction() as session:
            if not has_mark(session, *place, EVERYTHING):
                return
        with lease(deployment, switch) as mine:
            is_done = mine and publish(deployment, switch)
        if not is_done:
            time.sleep(BUSY_SECONDS)
