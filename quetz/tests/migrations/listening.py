"""Hear what migrations log, to wait for it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from logging.handlers import QueueHandler
from queue import SimpleQueue
from typing import Any

SECONDS = 30


@dataclass(frozen=True)
class Heard:
    records: SimpleQueue[Any] = field(default_factory=SimpleQueue)

    def next(self) -> str:
        """Wait for the next line."""
        message: str = self.records.get(timeout=SECONDS).getMessage()
        return message

    def is_all(self) -> bool:
        return self.records.empty()


@contextmanager
def listening() -> Iterator[Heard]:
    heard = Heard()
    handler = QueueHandler(heard.records)
    logger = logging.getLogger("quetz.migrations")
    logger.addHandler(handler)
    try:
        yield heard
    finally:
        logger.removeHandler(handler)
