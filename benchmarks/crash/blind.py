"""REL-3: kills at random moments: of the server, of its parts, of PostgreSQL, and of recoveries."""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from benchmarks.crash.places import DATABASES, deployed, postmaster_of
from benchmarks.crash.storm_clients import FORM_FILES
from benchmarks.crash.storms import Storm, Told
from benchmarks.figures import Figure

KILLS = 1_000
UPLOADS = 20_000
SECONDS = 640.0
"""As many kills as there is time for."""
SEED = 20261127


def measure(scale: float, folder: Path) -> Iterator[Figure]:
    wanted = max(1, int(KILLS * scale))
    with ProcessPoolExecutor(len(DATABASES), mp_context=get_context("spawn")) as pool:
        running = [
            pool.submit(_storm, backend, folder / backend, SECONDS * scale) for backend in DATABASES
        ]
        told = [future.result() for future in running]
    kills = sum((one.kills for one in told), Counter[str]())
    uploads = sum(one.uploads for one in told)
    forms = sum(one.forms for one in told)
    in_forms = forms * FORM_FILES
    faults = [fault for one in told for fault in one.faults]
    print(*faults[:20], sep="\n", end="\n" if faults else "", flush=True)
    kinds = ", ".join(f"{count} of the {what}" for what, count in kills.most_common())
    yield Figure(
        "REL-3 kills at random", [kills.total()], "kills", wanted, kinds, more_is_better=True
    )
    yield Figure(
        "REL-3 files uploaded under them",
        [uploads],
        "uploads",
        max(1, int(UPLOADS * scale)),
        f"by six clients of each of two servers, without what was sent again: {in_forms} of the "
        f"files in {forms} forms, each other one alone",
        more_is_better=True,
    )
    name = "REL-3 what was lost, broken, or refused when it was asked again"
    yield Figure(name, [len(faults)], "faults", 0, f"{kills.total()} kills, {uploads} uploads")


def _storm(backend: str, folder: Path, seconds: float) -> Told:
    with deployed(backend, folder) as driver:
        postmaster = postmaster_of(driver) if backend == "postgresql" else None
        try:
            return Storm(driver, postmaster, SEED).rage(time.monotonic() + seconds)
        finally:
            if postmaster is not None:
                postmaster.stop()
