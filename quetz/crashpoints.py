"""Places where a test lets the process die, to show that what follows a crash is right.

``QUETZ_CRASHPOINT=name:n`` kills the process with SIGKILL when it reaches the point ``name``
for the n-th time; before, it says so on standard error. Without the variable a crash point costs
one comparison. `quetz.testing.crashes` lists the points and has a scenario for each.
"""

import os
import signal

_name, _, _count = os.environ.get("QUETZ_CRASHPOINT", "").partition(":")
_left = int(_count or 1)


def crashpoint(name: str) -> None:
    if name == _name:
        _die_when_due()


def _die_when_due() -> None:
    global _left  # noqa: PLW0603  counts hits in this process, which is about to end
    _left -= 1
    if _left == 0:
        os.write(2, f"died at crash point {_name}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)
