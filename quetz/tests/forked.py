"""Has a program run as a fork: ``python -IS forked.py <socket> <order> <arguments>``.

Where a test puts it in place of ``python``, it has to start at once: it imports next to nothing.
"""

import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def run_by(server: str, order: Mapping[str, Any], files: Sequence[int]) -> int:
    """Have the server run a program on an input and two outputs, and return its exit code."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(server)
        socket.send_fds(connection, [json.dumps(order).encode()], files)
        return int(connection.recv(16))


def main() -> None:
    server, order, *arguments = sys.argv[1:]
    own = {"arguments": arguments, "cwd": os.getcwd(), "environment": dict(os.environ)}  # noqa: PTH109 (pathlib takes as long as all of this)
    code = run_by(server, json.loads(order) | own, (0, 1, 2))
    sys.exit(code if code >= 0 else 128 - code)  # as a shell tells of signals


if __name__ == "__main__":
    main()
