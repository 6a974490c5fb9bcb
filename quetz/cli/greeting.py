"""What a server says once it answers: where it is, and how to use it."""

import http.client
import threading
import time
from pathlib import Path

import typer

from quetz import __version__

_GIVE_UP_SECONDS = 60
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # compared, not bound

_TOUR = """
In another terminal, with the API key of a user who may create channels:
  export QUETZ_API_KEY=<key>

Create a channel:
  curl -H "X-API-Key: $QUETZ_API_KEY" -H "Content-Type: application/json" \\
    -d '{{"name": "my-channel", "private": false}}' {url}/api/channels
Upload a package:
  curl -H "X-API-Key: $QUETZ_API_KEY" -F files=@my-package-1.0-0.conda \\
    {url}/api/channels/my-channel/files/
Install it:
  conda create -n my-environment --override-channels -c {url}/get/my-channel my-package
"""


def greet_when_ready(path: Path, address: str, port: int, root_path: str, *, tour: bool) -> None:
    """Print the greeting to standard output, once, when the server answers."""
    address = _WILDCARDS.get(address, address)
    host = f"[{address}]" if ":" in address else address
    url = f"http://{host}:{port}{root_path}"
    text = f"quetz {__version__} serves '{path}' at {url} (stop with Ctrl-C)\n"
    if tour:
        text += _TOUR.format(url=url)

    def greet() -> None:
        if _answers(address, port, root_path):
            typer.echo(text)

    threading.Thread(target=greet, name="greeting", daemon=True).start()


def _answers(address: str, port: int, root_path: str) -> bool:
    deadline = time.monotonic() + _GIVE_UP_SECONDS
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection(address, port, timeout=_GIVE_UP_SECONDS)
        try:
            connection.request("GET", f"{root_path}/health/live")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
        finally:
            connection.close()
    return False
