"""The plugins that are installed, found without importing any code of theirs."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

from quetz.errors import PluginError
from quetz.settings import spelt

CORE = "quetz"
HOOKS, MODELS, MIGRATIONS = "quetz", "quetz.models", "quetz.migrations"


@dataclass(frozen=True)
class Installed:
    """A plugin by its entry points, by their groups."""

    name: str
    points: Mapping[str, EntryPoint]

    @property
    def package(self) -> str:
        return top(next(iter(self.points.values())).module)

    @property
    def version(self) -> str:
        distribution = next(iter(self.points.values())).dist
        return distribution.version if distribution else ""

    def versions(self) -> Path:
        """Return the folder of its revisions, there or not.

        Raises:
            PluginError: its package cannot be found.
        """
        if MIGRATIONS in self.points:
            return self._folder(self.points[MIGRATIONS].module) / "versions"
        return self._folder(self.package) / "migrations" / "versions"

    def _folder(self, module: str) -> Path:
        """Return the folder of a package, or of the module that stands beside others.

        To ask importlib for a dotted name would import the package.
        """
        parts = module.split(".")[1:]
        for folder in self._folders:
            place = folder.joinpath(*parts)
            if place.is_dir():
                return place
            if parts and place.with_suffix(".py").is_file():
                return place.parent
        return self._folders[0].joinpath(*parts)

    @cached_property
    def _folders(self) -> Sequence[Path]:
        try:
            spec = find_spec(self.package)
        except (ImportError, ValueError) as error:
            raise PluginError(self.name, f"cannot find {self.package}: {error}") from error
        if spec is None:
            raise PluginError(
                self.name,
                f"cannot import {self.package}: ModuleNotFoundError: No module named "
                f"'{self.package}'; install the plugin again, or uninstall it",
            )
        if spec.submodule_search_locations:  # a package; one without __init__.py has no file
            return [Path(folder) for folder in spec.submodule_search_locations]
        return [Path(str(spec.origin)).with_suffix("")]  # a module has no folder of its own


def find_installed() -> dict[str, Installed]:
    """Return all installed plugins by name."""
    found = _points(tuple((folder, _modified(folder)) for folder in sys.path))
    return {name: Installed(name, points) for name, points in sorted(found.items())}


@lru_cache(maxsize=1)
def _points(_folders: tuple[tuple[str, int], ...]) -> Mapping[str, Mapping[str, EntryPoint]]:
    """Read a file of each distribution, unless the folders of ``sys.path`` are as they were."""
    found: dict[str, dict[str, EntryPoint]] = {}
    points = entry_points()
    for group in (HOOKS, MODELS, MIGRATIONS):
        for point in points.select(group=group):
            found.setdefault(point.name, {})[group] = point
    return found


def _modified(folder: str) -> int:
    """Return when a distribution was last added to a folder, or taken out of it; in ns."""
    try:
        return Path(folder).stat().st_mtime_ns
    except OSError:  # it is not there, or is no file at all
        return 0


def choose(
    installed: Mapping[str, Installed], enabled: Sequence[str]
) -> tuple[list[Installed], dict[str, PluginError]]:
    """Return the plugins named, or all if none is, and the faults of those that cannot be."""
    broken: dict[str, PluginError] = {}
    chosen = list(installed.values())
    if enabled:
        by_spelling = {spelt(name): plugin for name, plugin in installed.items()}
        wanted = {spelt(name): name for name in enabled}
        chosen = [by_spelling[name] for name in sorted(wanted.keys() & by_spelling.keys())]
        for name in sorted(wanted.keys() - by_spelling.keys()):
            broken[wanted[name]] = PluginError(
                wanted[name],
                "is enabled but not installed; install it, or take it out of [plugins] enabled "
                f"(installed: {listed(installed)})",
            )
    sound: dict[str, Installed] = {}
    for plugin in chosen:
        if plugin.name == CORE:
            reason = "the name is taken by quetz itself; rename its entry points"
            broken[CORE] = PluginError(CORE, reason)
        elif plugin.package in sound:
            broken[plugin.name] = PluginError(
                plugin.name,
                f"shares the package {plugin.package} with '{sound[plugin.package].name}'; "
                "a plugin needs one of its own",
            )
        else:
            sound[plugin.package] = plugin
    return list(sound.values()), broken


def top(module: str) -> str:
    """Return the package that a module is in, however deep."""
    return module.partition(".")[0]


def listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
