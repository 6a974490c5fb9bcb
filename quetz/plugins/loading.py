"""Imports plugins; what is wrong with one stays with that one."""

import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pluggy

from quetz import __version__, hooks
from quetz.errors import PluginError
from quetz.plugins import faults, tables
from quetz.plugins.calls import Plugins
from quetz.plugins.installed import CORE, HOOKS, MODELS, Installed, choose, find_installed, top
from quetz.settings import spelt

_log = logging.getLogger("quetz.plugins")


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
    versions = _versions(installed, [*packages.values(), *broken])
    return Plugins(_manager().hook, migrations, packages, broken, versions, frozenset(installed))


def load_plugins(enabled: Sequence[str]) -> Plugins:
    """Import the plugins named, or all that are installed if none is.

    One that cannot be imported or breaks a rule is in ``broken``, and leaves no trace.
    """
    installed = find_installed()
    chosen, broken = choose(installed, enabled)
    loading = _Loading(chosen, broken)
    loading.load_all()
    migrations = {CORE: _core_folder()}
    migrations |= {name: plugin.versions() for name, plugin in loading.sound.items()}
    packages = {plugin.package: name for name, plugin in loading.sound.items()}
    versions = _versions(installed, [*loading.sound, *broken])
    return Plugins(
        loading.manager.hook, migrations, packages, broken, versions, frozenset(installed)
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


class _Barrier(MetaPathFinder):
    """Keeps broken plugins, by their packages, from being imported by others."""

    def __init__(self, broken: Mapping[str, str]) -> None:
        self._broken = broken

    def find_spec(self, fullname: str, *_arguments: object) -> None:
        if fullname in self._broken:
            raise faults.NeedsBroken(self._broken[fullname])


class _Loading:
    """Loads plugins one after another; faults go to ``broken``, the others to ``sound``."""

    def __init__(self, chosen: Sequence[Installed], broken: dict[str, PluginError]) -> None:
        self.manager = _manager()
        self.sound: dict[str, Installed] = {}
        self._chosen = chosen
        self._broken = broken
        self._names = {plugin.package: plugin.name for plugin in chosen}
        self._broken_packages: dict[str, str] = {}
        # Somebody has imported these already, and may hold their classes.
        self._early = self._names.keys() & sys.modules.keys()

    def load_all(self) -> None:
        barrier = _Barrier(self._broken_packages)
        sys.meta_path.insert(0, barrier)
        try:
            for plugin in self._chosen:
                try:
                    self._load(plugin)
                    self.sound[plugin.name] = plugin
                except PluginError as error:
                    self._drop(plugin, error)
        finally:
            sys.meta_path.remove(barrier)
        while fault := self._find_fault():
            self._drop(self.sound.pop(fault.plugin), fault)

    def _load(self, plugin: Installed) -> None:
        """Raises PluginError."""
        plugin.versions()  # tells whether its package is there
        with tables.imports_of(plugin.package, self._names):
            self._import_models(plugin)
            module = HOOKS in plugin.points and self._import(plugin, plugin.points[HOOKS].module)
        if fault := tables.faulty_name(plugin.package):
            raise PluginError(plugin.name, faults.of_table(plugin.package, *fault, self._names))
        if module:
            self._register(plugin, module)

    def _import_models(self, plugin: Installed) -> None:
        package = self._import(plugin, plugin.package)
        conventional = f"{plugin.package}.db_models"
        if MODELS in plugin.points:
            self._import(plugin, plugin.points[MODELS].module)
        elif hasattr(package, "__path__") and find_spec(conventional):
            self._import(plugin, conventional)

    def _import(self, plugin: Installed, module: str) -> ModuleType:
        try:
            return import_module(module)
        except (Exception, SystemExit) as error:  # a plugin may raise anything
            reason = faults.of_import(plugin.package, module, error, self._names)
            raise PluginError(plugin.name, reason) from error

    def _register(self, plugin: Installed, module: ModuleType) -> None:
        try:
            self.manager.register(module, name=plugin.name)
            self.manager.check_pending()
        except pluggy.PluginValidationError as error:
            raise PluginError(plugin.name, faults.of_validation(error)) from None
        if reason := faults.of_functions(module):
            raise PluginError(plugin.name, reason)

    def _drop(self, plugin: Installed, error: PluginError) -> None:
        """Leave no trace of a plugin, nor of others that it imported before their time."""
        self._broken[plugin.name] = error
        self._broken_packages[plugin.package] = plugin.name
        if self.manager.has_plugin(plugin.name):
            self.manager.unregister(name=plugin.name)
        sound = {sound.package for sound in self.sound.values()}
        packages = (self._names.keys() - sound - self._early) | {plugin.package}
        tables.forget(packages)
        for module in list(sys.modules):
            if top(module) in packages:
                del sys.modules[module]

    def _find_fault(self) -> PluginError | None:
        """Return a fault that shows only when all are there, or when others are gone."""
        for name, plugin in self.sound.items():
            if reason := faults.of_neighbours(plugin.package, self._broken_packages):
                return PluginError(name, reason)
        if fault := tables.fault_of_classes():
            package, error = fault
            if self._names.get(package) not in self.sound:
                raise error
            reason = f"its models do not fit together: {type(error).__name__}: {error}"
            return PluginError(self._names[package], reason)
        return None


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager("quetz")
    manager.add_hookspecs(hooks)
    return manager


def _core_folder() -> Path:
    return Path(import_module("quetz").__path__[0], "migrations", "versions")


def _versions(installed: Mapping[str, Installed], names: Iterable[str]) -> dict[str, str]:
    return {CORE: __version__} | {
        name: installed[name].version for name in names if name in installed
    }
