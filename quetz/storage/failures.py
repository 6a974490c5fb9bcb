"""What the operating system reports, in terms of the store."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from quetz.errors import StorageFull, StoreUnavailable

# EFBIG: the file system, or a limit of the process, takes no file of this size.
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def store_failures() -> Iterator[None]:
    """Translate an ``OSError``.

    Raises:
        StorageFull: there is no room.
        StoreUnavailable: anything else. Its text names no path, since clients see it.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise StorageFull from error
        raise StoreUnavailable(error.strerror or type(error).__name__) from error
