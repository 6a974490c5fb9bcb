"""Finds and loads plugins, and knows which table and which migrations belong to which.

A plugin is an installed distribution with an entry point in group ``quetz`` that names its
module of hooks; the name of the entry point is the plugin's. By convention its models are in
``<package>.db_models`` and its migrations in ``<package>/migrations/versions``. Entry points in
the groups ``quetz.models`` and ``quetz.migrations`` name other places.
"""

import inspect
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy
from sqlalchemy.orm import Session

import quetz.db.models  # noqa: F401 (fills the metadata)
from quetz import hooks
from quetz.db.base import Base
from quetz.errors import PluginError, QuetzError
from quetz.settings import spelt

CORE = "quetz"

_log = logging.getLogger("quetz.plugins")

_HOOKS, _MODELS, _MIGRATIONS = "quetz", "quetz.models", "quetz.migrations"

_HOOK_NAMES = [name for name, value in vars(hooks).items() if hasattr(value, "quetz_spec")]

# Tables by the package whose import made them; a module is imported once in a process. Mapped
# classes tell it themselves, even if another plugin imported them first.
_packages_of_tables: dict[str, str] = {}


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
    """

    hook: pluggy.HookRelay
    migrations: dict[str, Path]
    packages: dict[str, str]
    broken: dict[str, PluginError] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

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
        for mapper in Base.registry.mappers:
            if mapper.local_table is Base.metadata.tables.get(name):
                package = _top(mapper.class_.__module__)
                break
        else:
            package = _packages_of_tables.get(name, CORE)
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


def load_plugins(enabled: Sequence[str]) -> Plugins:
    """Import the plugins named, or all that are installed if none is.

    Raises:
        PluginError: a plugin is not installed, cannot be imported, implements what is no hook, or
            has a hook that would never run.
    """
    manager = pluggy.PluginManager("quetz")
    manager.add_hookspecs(hooks)
    migrations = {CORE: Path(import_module("quetz").__path__[0], "migrations", "versions")}
    packages = {}
    for name, points in sorted(_choose(_find_plugins(), enabled).items()):
        plugin = _Plugin(name, points)
        packages[plugin.package] = name
        plugin.load_models()
        plugin.register(manager)
        migrations[name] = plugin.versions()
    _check_hooks(manager)
    return Plugins(manager.hook, migrations, packages)


def _find_plugins() -> dict[str, dict[str, EntryPoint]]:
    """Return the entry points of each plugin by their groups."""
    found: dict[str, dict[str, EntryPoint]] = {}
    for group in (_HOOKS, _MODELS, _MIGRATIONS):
        for point in entry_points(group=group):
            found.setdefault(point.name, {})[group] = point
    return found


def _choose(
    installed: dict[str, dict[str, EntryPoint]], enabled: Sequence[str]
) -> dict[str, dict[str, EntryPoint]]:
    if not enabled:
        return installed
    names = {spelt(name): name for name in installed}
    for name in enabled:
        if spelt(name) not in names:
            raise PluginError(
                name,
                "is enabled but not installed; install it, or take it out of [plugins] enabled "
                f"(installed: {_listed(installed)})",
            )
    return {names[spelt(name)]: installed[names[spelt(name)]] for name in enabled}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


class _Plugin:
    """One plugin while it is loaded; whatever its code raises becomes a ``PluginError``."""

    def __init__(self, name: str, points: dict[str, EntryPoint]) -> None:
        if name == CORE:
            raise PluginError(name, "the name is taken by quetz itself; rename its entry points")
        self.name = name
        self.points = points
        self.package = _top(next(iter(points.values())).module)

    def load_models(self) -> None:
        before = set(Base.metadata.tables)
        module = self._module(_MODELS, "db_models")
        if module is not None:
            self._import(module)
        for table in Base.metadata.tables.keys() - before:
            _packages_of_tables[table] = self.package

    def register(self, manager: pluggy.PluginManager) -> None:
        if _HOOKS not in self.points:
            return
        module = self._import(self.points[_HOOKS].module)
        try:
            manager.register(module, name=self.name)
        except pluggy.PluginValidationError as error:
            raise _hook_error(self.name, error) from None
        for hook in _HOOK_NAMES:
            self._check_function(module, hook)

    def _check_function(self, module: ModuleType, hook: str) -> None:
        """Refuse what would be passed over in silence: no mark, or a call that runs nothing."""
        function = getattr(module, hook, None)
        if not callable(function):
            return
        what = f"'{hook}' in {module.__name__}"
        if not hasattr(function, "quetz_impl"):
            raise PluginError(self.name, f"{what} is named like a hook; mark it with @hookimpl")
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            reason = f"{what} must be a plain function, neither async nor with yield"
            raise PluginError(self.name, reason)

    def versions(self) -> Path:
        """Return the folder of its revisions, there or not."""
        if _MIGRATIONS in self.points:
            return _folder(self._import(self.points[_MIGRATIONS].module)) / "versions"
        return _folder(self._import(self.package)) / "migrations" / "versions"

    def _module(self, group: str, conventional: str) -> str | None:
        if group in self.points:
            return self.points[group].module
        self._import(self.package)
        name = f"{self.package}.{conventional}"
        return name if find_spec(name) else None

    def _import(self, module: str) -> ModuleType:
        try:
            return import_module(module)
        except (Exception, SystemExit) as error:  # a plugin may raise anything
            reason = f"cannot import {module}: {type(error).__name__}: {error}"
            raise PluginError(self.name, reason) from error


def _top(module: str) -> str:
    return module.partition(".")[0]


def _folder(module: ModuleType) -> Path:
    """Return the folder of a package, or of the module that stands beside others.

    A package without ``__init__.py`` has no file.
    """
    if hasattr(module, "__path__"):
        return Path(module.__path__[0])
    return Path(str(module.__file__)).parent


def _check_hooks(manager: pluggy.PluginManager) -> None:
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise _hook_error(str(manager.get_name(error.plugin)), error) from None


def _hook_error(name: str, error: pluggy.PluginValidationError) -> PluginError:
    return PluginError(name, f"{' '.join(str(error).split())} (hooks: {_listed(_HOOK_NAMES)})")
