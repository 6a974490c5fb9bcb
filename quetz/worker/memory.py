"""Memory that large work took, and its process keeps though it is free."""

import ctypes
import sys
from typing import Any, Final

_LIBC: Final[Any] = ctypes.CDLL(None) if sys.platform == "linux" else None


def give_back_memory() -> None:
    """Let the system have it, where the C library can: malloc_trim(3) of glibc."""
    if hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)
