"""What background work leaves to others: the processor and memory, where the system allows it."""

import ctypes
import os
import sys
import threading
from typing import Any, Final

_IS_LINUX: Final = sys.platform == "linux"
_LIBC: Final[Any] = ctypes.CDLL(None) if _IS_LINUX else None


def give_way(niceness: int) -> None:
    """Let other threads of the machine go first, by ``niceness`` from 0 to 19 (setpriority(2))."""
    if _IS_LINUX:  # elsewhere this is of the whole process
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)


def give_back_memory() -> None:
    """Return memory that large work took and freed, and that its process keeps (malloc_trim(3))."""
    if hasattr(_LIBC, "malloc_trim"):  # a function of glibc
        _LIBC.malloc_trim(0)
