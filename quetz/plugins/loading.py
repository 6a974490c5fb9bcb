"""Imports plugins; what is wrong with one stays with that one."""

import inspect
import logging
import re
import sys
from collections.abc import Collection, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy
from sqlalchemy import Table
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import ClassManager, configure_mappers

import quetz.db.models  # noqa: F401 (fills the metadata)
from quetz import __version__, hooks
from quetz.db.base import Base
from quetz.errors import PluginError
from quetz.plugins.calls import Plugins, packages_of_tables
from quetz.plugins.installed import (
    CORE,
    HOOKS,
    MODELS,
    Installed,
    choose,
    find_installed,
    listed,
    top,
)
from quetz.settings import spelt

_log = logging.getLogger("quetz.plugins")

_HOOK_NAMES = [name for name, value in vars(hooks).items() if hasattr(value, "quetz_spec")]

# Tables of Alembic, of the engine of migrations, and of DBOS, which has no prefix.
_RESERVED = re.compile(
    r"alembic_version|quetz_migration_log|_alembic_tmp_.*|workflow_.*|notifications|queues|"
    r"streams|operation_outputs|application_versions|dbos_migrations"
)
_TAKEN = re.compile(r"Table '(\w+)' is already defined")
# Modules of the older implementation, which its plugins import.
_FORMER = re.compile(r"(?:No module named|cannot import name \S+ from) '(quetz\.[\w.]+)'")


def find_plugins(enabled: Sequence[str]) -> Plugins:
    """Find the plugins named, or all, without importing any: they have no hooks and no tables."""
    installed = find_installed()
    chosen, broken = choose(installed, enabled)
    migrations = {CORE: _core_folder()}
    packages = {}
    for plugin in chosen:
        try:
            migrations[plugin.name] = plugin.versions()
            packages[plugin.package] = plugin.name
        except PluginError as error:
            broken[plugin.name] = error
    return Plugins(
        _manager().hook, migrations, packages, broken, _versions(chosen), frozenset(installed)
    )


def load_plugins(enabled: Sequence[str]) -> Plugins:
    """Import the plugins named, or all that are installed if none is.

    One that cannot be imported or breaks a rule is in ``broken``, and leaves no trace.
    """
    installed = find_installed()
    chosen, broken = choose(installed, enabled)
    loading = _Loading(_manager(), {plugin.package for plugin in chosen})
    sound: dict[str, Installed] = {}
    for plugin in chosen:
        try:
            loading.load(plugin)
            sound[plugin.name] = plugin
        except PluginError as error:
            broken[plugin.name] = error
            loading.forget(loading.packages - {one.package for one in sound.values()})
    while sound and (fault := _fault_of_mappers()):
        package, reason = fault
        name = next(name for name, one in sound.items() if one.package == package)
        broken[name] = PluginError(name, f"its models do not fit together: {reason}")
        loading.unregister(sound.pop(name))
        loading.forget({package})
    migrations = {CORE: _core_folder()}
    migrations |= {name: plugin.versions() for name, plugin in sound.items()}
    packages = {plugin.package: name for name, plugin in sound.items()}
    return Plugins(
        loading.manager.hook,
        migrations,
        packages,
        broken,
        _versions(chosen),
        frozenset(installed),
    )


def check_usable(plugins: Plugins, enabled: Sequence[str]) -> None:
    """Log which plugins are left out.

    Raises:
        PluginError: of one that is enabled by name.
    """
    wanted = {spelt(name) for name in enabled}
    for name, error in plugins.broken.items():
        if spelt(name) in wanted:
            raise error
        _log.error("%s; the server goes on without it", error)


class _Loading:
    """Loads plugins one after another; ``packages`` are those of all of them."""

    def __init__(self, manager: pluggy.PluginManager, packages: Collection[str]) -> None:
        self.manager = manager
        self.packages = set(packages)

    def load(self, plugin: Installed) -> None:
        """Raises PluginError."""
        plugin.versions()  # which tells whether its package is there
        self._load_models(plugin)
        try:
            self._load_hooks(plugin)
        except PluginError:
            self.unregister(plugin)
            raise

    def unregister(self, plugin: Installed) -> None:
        if self.manager.has_plugin(plugin.name):
            self.manager.unregister(name=plugin.name)

    def forget(self, packages: Collection[str]) -> None:
        """Take away what was imported of packages: modules, mapped classes and tables."""
        for manager in list(Base.registry._managers):  # noqa: SLF001 (SQLAlchemy forgets all or none)
            if top(manager.class_.__module__) in packages:
                _dispose(manager)
        for name, package in list(packages_of_tables.items()):
            if package in packages:
                del packages_of_tables[name]
                if name in Base.metadata.tables:
                    Base.metadata.remove(Base.metadata.tables[name])
        for module in list(sys.modules):
            if top(module) in packages:
                del sys.modules[module]

    def _load_models(self, plugin: Installed) -> None:
        before = set(Base.metadata.tables)
        try:
            _import(plugin, plugin.package)
            if MODELS in plugin.points:
                _import(plugin, plugin.points[MODELS].module)
            elif find_spec(f"{plugin.package}.db_models"):
                _import(plugin, f"{plugin.package}.db_models")
        finally:
            new = Base.metadata.tables.keys() - before
            packages_of_tables.update(dict.fromkeys(new, plugin.package))
            packages_of_tables.update(_packages_of_classes(new))
        if reserved := [name for name in sorted(new) if _RESERVED.fullmatch(name)]:
            raise PluginError(
                plugin.name,
                f"its table '{reserved[0]}' has a reserved name; "
                f"call it {plugin.package} or {plugin.package}_...",
            )

    def _load_hooks(self, plugin: Installed) -> None:
        if HOOKS not in plugin.points:
            return
        module = _import(plugin, plugin.points[HOOKS].module)
        try:
            self.manager.register(module, name=plugin.name)
            self.manager.check_pending()
        except pluggy.PluginValidationError as error:
            reason = f"{' '.join(str(error).split())} (hooks: {listed(_HOOK_NAMES)})"
            raise PluginError(plugin.name, reason) from None
        for hook in _HOOK_NAMES:
            _check_function(plugin, module, hook)


def _packages_of_classes(tables: Collection[str]) -> dict[str, str]:
    """Return the packages of tables that a class is mapped to, whoever imported it."""
    found = {}
    for manager in list(Base.registry._managers):  # noqa: SLF001 (mappers raises for a class that failed)
        table = getattr(vars(manager).get("mapper"), "local_table", None)
        if isinstance(table, Table) and table.name in tables:
            found[str(table.name)] = top(manager.class_.__module__)
    return found


def _dispose(manager: ClassManager[Any]) -> None:
    """Unmap a class; one whose mapping failed has no mapper."""
    registry = Base.registry
    registry._managers.pop(manager, None)  # noqa: SLF001 (as above)
    if vars(manager).get("mapper") is None:
        registry._dispose_cls(manager.class_)  # noqa: SLF001
    else:
        registry._dispose_manager_and_mapper(manager)  # noqa: SLF001


def _check_function(plugin: Installed, module: ModuleType, hook: str) -> None:
    """Refuse what would be passed over in silence: no mark, or a call that runs nothing."""
    function = getattr(module, hook, None)
    if not callable(function):
        return
    what = f"'{hook}' in {module.__name__}"
    if not hasattr(function, "quetz_impl"):
        raise PluginError(plugin.name, f"{what} is named like a hook; mark it with @hookimpl")
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        reason = f"{what} must be a plain function, neither async nor with yield"
        raise PluginError(plugin.name, reason)


def _import(plugin: Installed, module: str) -> ModuleType:
    try:
        return import_module(module)
    except (Exception, SystemExit) as error:  # a plugin may raise anything
        raise PluginError(plugin.name, _reason(module, error)) from error


def _reason(module: str, error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, ImportError) and (former := _FORMER.search(str(error))):
        return (
            f"was written for the older quetz: it imports {former[1]}, which is gone; "
            "import from quetz.plugin_api instead"
        )
    if isinstance(error, InvalidRequestError) and (taken := _TAKEN.search(str(error))):
        owner = packages_of_tables.get(taken[1], CORE)
        return f"its table '{taken[1]}' has the name of one of {owner}; give it another"
    return f"cannot import {module}: {text}"


def _fault_of_mappers() -> tuple[str, str] | None:
    """Return the package whose models cannot be connected, and why."""
    try:
        configure_mappers()
    except Exception as error:
        for mapper in Base.registry.mappers:
            if getattr(mapper, "_configure_failed", None):
                return top(mapper.class_.__module__), f"{type(error).__name__}: {error}"
        raise
    return None


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager("quetz")
    manager.add_hookspecs(hooks)
    return manager


def _core_folder() -> Path:
    return Path(import_module("quetz").__path__[0], "migrations", "versions")


def _versions(chosen: Collection[Installed]) -> dict[str, str]:
    return {CORE: __version__} | {plugin.name: plugin.version for plugin in chosen}
