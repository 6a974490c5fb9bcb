"""The application of one server process, as ``quetz start`` has the web server make it."""

import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from granian.utils.proxies import wrap_asgi_with_proxy_headers

from quetz.crashpoints import crashpoint
from quetz.deployment import Deployment
from quetz.errors import QuetzError
from quetz.services.background import Background
from quetz.web.app import create_app
from quetz.web.proxies import FORWARDED_BY
from quetz.worker.index_watch import IndexWatch
from quetz.worker.tally_writer import TallyWriter

MASTER_SECONDS = 1.0
"""How long a worker may not know that its master was killed."""

SWITCH_SECONDS = 0.001
"""How long a thread that builds an index may keep the event loop waiting for its next turn.

With Python's own 5 ms answers take longer meanwhile; this costs such a thread 1 to 3 % of its
speed, and nothing while nobody waits.
"""

_PEER = "quetz.peer"

_log = logging.getLogger("quetz")


App = Callable[..., Awaitable[Any]]


def create() -> App:
    """Open the deployment that the environment names, and build its application.

    ``QUETZ_DEPLOYMENT`` is its folder, ``QUETZ_ROOT_PATH`` the sub-path it is served under,
    ``QUETZ_TRUSTED_PROXIES`` a comma-separated list of addresses whose forwarding headers
    are believed, ``QUETZ_MASTER_PID`` the process to end with.
    """
    _MasterWatch(int(os.environ["QUETZ_MASTER_PID"])).start()
    try:
        app = _open_app()
        crashpoint("start.worker")
    except QuetzError as error:  # it changed since the command checked it
        _log.error("a server process cannot start: %s", error)
        sys.exit(1)
    # What is there now stays: looking through it again and again would stop everything for 0.1 s.
    gc.freeze()
    sys.setswitchinterval(SWITCH_SECONDS)
    trusted = [host for host in os.environ.get("QUETZ_TRUSTED_PROXIES", "").split(",") if host]
    if not trusted:
        return app
    return behind_proxies(app, trusted)


def _open_app() -> App:
    deployment = Deployment.open(Path(os.environ["QUETZ_DEPLOYMENT"]))
    background: list[Background] = [
        deployment.schema,
        IndexWatch(deployment),
        TallyWriter(deployment),
    ]
    return create_app(deployment, background, root_path=os.environ.get("QUETZ_ROOT_PATH", ""))


def behind_proxies(app: App, trusted: list[str]) -> App:
    """Believe the forwarding headers of trusted addresses, where there are any."""

    def told(scope: MutableMapping[str, Any], *channels: Any) -> Awaitable[Any]:
        peer = scope.pop(_PEER)
        if scope.get("client") is not peer:  # it is replaced only where the peer is trusted
            scope[FORWARDED_BY] = peer[0] if peer else None
        return app(scope, *channels)

    believing: App = wrap_asgi_with_proxy_headers(told, trusted)

    def choose(scope: MutableMapping[str, Any], *channels: Any) -> Awaitable[Any]:
        # Parsing the client's address takes a tenth of the time of a small answer.
        if b"x-forwarded-for" not in dict(scope.get("headers", ())):
            return app(scope, *channels)
        scope[_PEER] = scope.get("client")
        return believing(scope, *channels)

    return choose


class _MasterWatch(threading.Thread):
    """Ends this worker once its master is gone: else it would live on and keep the port.

    The kernel could be asked for a signal (PR_SET_PDEATHSIG), but it comes once: a worker that is
    just starting takes no notice of it.
    """

    def __init__(self, master: int) -> None:
        super().__init__(name="master-watch", daemon=True)
        self._master = master

    def run(self) -> None:
        while True:
            if os.getppid() != self._master:
                _log.error("the server's master process is gone")
                os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(MASTER_SECONDS)
