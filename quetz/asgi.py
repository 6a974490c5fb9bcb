"""The application of one server process, as ``quetz start`` has the web server make it."""

import ctypes
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from granian.utils.proxies import wrap_asgi_with_proxy_headers

from quetz.deployment import Deployment
from quetz.web.app import Background, create_app
from quetz.worker.publisher import Publisher
from quetz.worker.upkeep import Upkeep

PR_SET_PDEATHSIG = 1  # prctl(2)

_log = logging.getLogger("quetz")


def create() -> Callable[..., Awaitable[Any]]:
    """Open the deployment that the environment names, and build its application.

    ``QUETZ_DEPLOYMENT`` is its folder, ``QUETZ_ROOT_PATH`` the sub-path it is served under,
    ``QUETZ_TRUSTED_PROXIES`` a comma-separated list of addresses whose forwarding headers
    are believed, ``QUETZ_MASTER_PID`` the process to end with.
    """
    _die_with_master(int(os.environ["QUETZ_MASTER_PID"]))
    deployment = Deployment.open(Path(os.environ["QUETZ_DEPLOYMENT"]))
    background: list[Background] = [Publisher(deployment), Upkeep(deployment)]
    app = create_app(deployment, background, root_path=os.environ.get("QUETZ_ROOT_PATH", ""))
    trusted = [host for host in os.environ.get("QUETZ_TRUSTED_PROXIES", "").split(",") if host]
    if not trusted:
        return app
    wrapped: Callable[..., Awaitable[Any]] = wrap_asgi_with_proxy_headers(app, trusted)
    return wrapped


def _die_with_master(master: int) -> None:
    """Let this worker end when its master is killed: else it would live on and keep the port."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != master:  # it went before the kernel was told
        _log.error("the server's master process is gone")
        sys.exit(1)
