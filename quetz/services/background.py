"""Work that a server does beside answering requests."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Protocol


class Background(Protocol):
    """A thread, or several; ``stop`` returns when what it has begun is finished or given up."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


@contextmanager
def running(background: Sequence[Background]) -> Iterator[None]:
    """Start all of it, and stop what was started in the end, the last one first."""
    with ExitStack() as started:
        for work in background:
            work.start()
            started.callback(work.stop)
        yield
