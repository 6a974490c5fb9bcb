"""The improver: a thread that compresses quiet indexes better than there was time for."""

import logging
import threading
import time

from quetz.conda.pieces import TornDocument
from quetz.crashpoints import crashpoint
from quetz.db.base import now_ms
from quetz.deployment import Deployment
from quetz.services import publishing
from quetz.services.index_documents import exchange_pieces, improve_documents
from quetz.services.publishing import Batch, Files, Switch
from quetz.worker.publisher import flip, lease
from quetz.worker.resources import give_way

_log = logging.getLogger("quetz.improver")

LOOK_SECONDS = 60.0
QUIET_MS = 10 * 60 * 1000
"""How long an index must have been as it is: while it changes, better pieces are soon gone."""


class Improver(threading.Thread):
    """One for each server, with what processor time nobody else wants."""

    def __init__(self, deployment: Deployment) -> None:
        super().__init__(name="improver", daemon=True)
        self._deployment = deployment
        self._stopping = threading.Event()
        self._looked_at: dict[Switch, int] = {}

    def stop(self) -> None:
        """Give up what is being compressed, and return."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        give_way(19)
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                self.improve_quiet()
            except Exception:  # noqa: BLE001  the improver outlives every fault
                _log.exception("cannot compress an index better; trying again later")

    def improve_quiet(self) -> None:
        """Compress the indexes better that have not changed for a while."""
        with self._deployment.transaction() as session:
            published = publishing.list_published(session)
        for switch, state in published.items():
            if self._stopping.is_set() or self._deployment.schema.changed:
                return
            changed_at = state.published_at
            if now_ms() - changed_at > QUIET_MS and self._looked_at.get(switch) != changed_at:
                self._improve(switch)
                self._looked_at[switch] = changed_at

    def _improve(self, switch: Switch) -> None:
        with lease(self._deployment, switch, "improve") as mine:
            before = self._read(switch) if mine else None
            if before is None:
                return
            began = time.monotonic()
            try:
                if self._exchange(switch, before.files):
                    _log.info("compressed %s better, in %.1f s", switch, time.monotonic() - began)
            except TornDocument:
                after = self._read(switch)
                if after is not None and after.files == before.files:  # or they were superseded
                    with self._deployment.transaction(write=True) as session:
                        publishing.mark_for_rebuild(session, switch)

    def _read(self, switch: Switch) -> Batch | None:
        with self._deployment.transaction() as session:
            return publishing.read_quiet(session, switch)

    def _exchange(self, switch: Switch, files: Files) -> bool:
        deployment = self._deployment
        better = improve_documents(deployment.store, files, lambda: not self._stopping.is_set())
        if not better or self._stopping.is_set():
            return False
        batch = self._read(switch)
        if batch is None:
            return False
        crashpoint("improve.read")
        return flip(deployment, batch, exchange_pieces(deployment.store, batch, better))
