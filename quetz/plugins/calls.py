"""The plugins in use: calls their hooks, and knows which table is whose."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pluggy
from sqlalchemy.orm import Session

from quetz.errors import PluginError, QuetzError
from quetz.plugins.tables import package_of

_log = logging.getLogger("quetz.plugins")


class PluginFailed(Exception):
    """A plugin failed in a hook, as the log says: a fault of the server, not of who asked."""

    def __init__(self, plugin: str, hook: str) -> None:
        super().__init__(f"plugin '{plugin}' failed in {hook}")


class TransactionEnded(Exception):
    """A hook ended the transaction that it was given."""

    def __init__(self) -> None:
        super().__init__(
            "the hook ended the transaction; do not commit or roll back its session, "
            "and do not hide an error of the database"
        )


@dataclass(frozen=True)
class Plugins:
    """The plugins in use.

    ``migrations`` has the folder of revisions of quetz and of each plugin; a plugin that has no
    revision yet may lack the folder: ``{"quetz": Path(".../quetz/migrations/versions")}``.
    ``packages`` has the plugins by their import packages: ``{"quetz_foo": "quetz-foo"}``.
    ``broken`` has those that were chosen and could not be taken: nothing else knows of them.
    ``versions`` are of their distributions, and of quetz; ``installed`` has all that are there.
    """

    hook: pluggy.HookRelay
    migrations: dict[str, Path]
    packages: dict[str, str]
    broken: dict[str, PluginError] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    installed: frozenset[str] = frozenset()

    def implements(self, hook: str) -> bool:
        """Tell whether calling the hook would call anybody."""
        return bool(getattr(self.hook, hook).get_hookimpls())

    def implementations(self, hook: str) -> Iterator[pluggy.HookImpl]:
        """Yield what implements a hook, in the order in which it is called."""
        yield from reversed(getattr(self.hook, hook).get_hookimpls())

    def call(
        self, hook: str, *, refusal: type[QuetzError] | tuple[()] = (), **arguments: Any
    ) -> None:
        """Call each plugin that implements the hook, until one fails.

        What it leaves to be written in an argument ``session`` is written while it is known whose
        fault an error would be.

        Raises:
            PluginFailed: a plugin raised something else than a ``refusal``, or ended the
                transaction of ``session``; the log has the traceback.
        """
        for implementation in self.implementations(hook):
            try:
                _call(implementation, arguments)
            except refusal:
                raise
            except (Exception, SystemExit):  # noqa: BLE001  # a plugin may raise anything
                name = implementation.plugin_name
                _log.exception("plugin '%s' failed in %s", name, hook)
                raise PluginFailed(name, hook) from None

    def tell(self, hook: str, **arguments: Any) -> None:
        """Call each plugin that implements the hook; a failure is logged and stops nothing."""
        for implementation in self.implementations(hook):
            try:
                _call(implementation, arguments)
            except (Exception, SystemExit):  # noqa: BLE001  # a plugin may raise anything
                _log.exception("plugin '%s' failed in %s", implementation.plugin_name, hook)

    def owner_of_table(self, name: str) -> str:
        """Return ``quetz``, or the plugin whose models have the table.

        A table of a package that is no plugin in use belongs to the package.
        """
        package = package_of(name)
        return self.packages.get(package, package)


def _call(implementation: pluggy.HookImpl, arguments: Mapping[str, Any]) -> None:
    session: Session | None = arguments.get("session")
    transaction = session and session.get_transaction()
    implementation.function(*(arguments[name] for name in implementation.argnames))
    if session is not None:
        session.flush()
        # An upload that was rolled back would be answered 201, and be nowhere. A failed flush
        # rolls back too, and leaves the session inactive.
        if session.get_transaction() is not transaction or not session.is_active:
            raise TransactionEnded
