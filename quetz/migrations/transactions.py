"""Notices that a revision ends the transaction it runs in, which is not its own."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError

# A script that was pasted begins its own, and would end that of the revision.
_ENDS = re.compile(
    r"\s*(BEGIN|START\s+TRANSACTION|COMMIT|END|ABORT|ROLLBACK(?!.*\bTO\b))\b",
    re.IGNORECASE | re.DOTALL,
)


class TransactionEnded(Exception):
    """A revision ended its transaction, or was about to."""

    def __init__(self, how: str, connection: Connection) -> None:
        advice = "leave it out"
        if connection.dialect.name == "postgresql":
            advice += ", or say transactional = False"
        super().__init__(
            f"it must not begin or end a transaction, as {how} does: it is in one with its entry "
            f"in the ledger; {advice}"
        )


class Transaction:
    """The transaction of one revision; ``is_over`` if it has ended all the same.

    ``is_split`` if the revision did that, and not SQLite, which takes all of it back when a
    statement fails by a full disk, say: then nothing of it is there.
    """

    def __init__(self, connection: Connection) -> None:
        self.is_over = False
        self.is_split = False
        self._connection = connection
        self._has_begun = _is_open(connection)

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Refuse what would end it, and notice what did.

        Raises:
            TransactionEnded: what was done before is committed, or gone, if ``is_over``.
        """
        listeners: dict[str, Callable[..., None]] = {
            "before_cursor_execute": self._before,
            "after_cursor_execute": self._after,
            "commit": lambda _connection: self._refuse("connection.commit()"),
            "rollback": lambda _connection: self._refuse("connection.rollback()"),
        }
        for name, listener in listeners.items():
            event.listen(self._connection, name, listener)
        event.listen(self._connection.dialect, "handle_error", self._failed)
        try:
            yield
            self._check()
        except TransactionEnded as error:
            cause = error.__context__  # after a copy that failed, Alembic would drop it
            if self.is_over and not self.is_split and isinstance(cause, DBAPIError):
                raise cause from None
            raise
        finally:
            self._look()
            event.remove(self._connection.dialect, "handle_error", self._failed)
            for name, listener in listeners.items():
                event.remove(self._connection, name, listener)

    def _before(self, _connection: object, _cursor: object, sql: str, *_context: object) -> None:
        self._check()
        if found := _ENDS.match(sql):
            self._refuse(found[1].upper())

    def _after(self, *_context: object) -> None:
        self._has_begun = True  # PostgreSQL's driver begins with the first statement
        self._check()

    def _check(self) -> None:
        self._look()
        if self.is_over:
            self._refuse("a statement")

    def _failed(self, context: ExceptionContext) -> None:
        if context.connection is self._connection:
            self._look(by_itself=self._connection.dialect.name == "sqlite")

    def _look(self, *, by_itself: bool = False) -> None:
        if not self.is_over and self._has_begun and not _is_open(self._connection):
            self.is_over, self.is_split = True, not by_itself

    def _refuse(self, how: str) -> NoReturn:
        raise TransactionEnded(how, self._connection)


def _is_open(connection: Connection) -> bool:
    if connection.invalidated:  # it was lost, which is no fault of the revision
        return True
    driver: Any = connection.connection.dbapi_connection
    if connection.dialect.name == "sqlite":
        return bool(driver.in_transaction)
    return bool(driver.info.transaction_status != TransactionStatus.IDLE)
