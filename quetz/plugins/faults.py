"""What is wrong with a plugin, in a sentence that says what to do."""

import inspect
import re
import sys
from collections.abc import Collection, Mapping
from traceback import walk_tb
from types import FunctionType, ModuleType

import pluggy

from quetz import hooks
from quetz.plugins import tables
from quetz.plugins.installed import CORE, listed, top

_HOOK_NAMES = [name for name, value in vars(hooks).items() if hasattr(value, "quetz_spec")]
_NAME_GONE = re.compile(r"cannot import name '(\w+)' from '(quetz[\w.]*)'")


class NeedsBroken(ImportError):
    """A plugin imports one that is broken."""

    def __init__(self, plugin: str) -> None:
        super().__init__(f"needs the plugin '{plugin}', which is broken; mend that one first")


def of_import(package: str, module: str, error: BaseException, names: Mapping[str, str]) -> str:
    """Return why a module of a package cannot be imported; ``names`` has plugins by package."""
    if isinstance(error, NeedsBroken):
        return str(error)
    if isinstance(error, tables.TableChanged):
        owner = tables.package_of(error.table)
        return (
            f"changes the table '{error.table}' of {names.get(owner, owner)}; "
            "declare a table of its own"
        )
    if table := tables.table_taken(error):
        return of_table(package, table, tables.package_of(table), names)
    if former := _former_name(error):
        return (
            f"was written for the older quetz: it imports {former}, which is gone; "
            "import from quetz.plugin_api instead"
        )
    said = f"{type(error).__name__}: {error}"
    other = _importing(error, names) or package
    if other != package:
        return f"needs the plugin '{names[other]}', which cannot be imported: {said}"
    return f"cannot import {module}: {said}"


def of_table(package: str, table: str, owner: str, names: Mapping[str, str]) -> str:
    """Return why a name is none for a table; ``owner`` is the package that has it, or ``""``."""
    if not owner:
        return f"its table '{table}' has a reserved name; call it {package} or {package}_..."
    if owner == package:
        return f"declares the table '{table}' twice; give one of the two another name"
    return f"its table '{table}' has the name of one of {names.get(owner, owner)}; give it another"


def of_validation(error: pluggy.PluginValidationError) -> str:
    """Return why pluggy refuses a hook."""
    return f"{' '.join(str(error).split())} (hooks: {listed(_HOOK_NAMES)})"


def of_functions(module: ModuleType) -> str | None:
    """Return what would be passed over in silence: no mark, or a call that runs nothing."""
    for hook in _HOOK_NAMES:
        function = getattr(module, hook, None)
        what = f"'{hook}' in {module.__name__}"
        if callable(function) and not hasattr(function, "quetz_impl"):
            return f"{what} is named like a hook; mark it with @hookimpl"
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            return f"{what} must be a plain function, neither async nor with yield"
    return None


def of_neighbours(package: str, broken: Mapping[str, str]) -> str | None:
    """Return what a package lacks now that plugins, by their packages, are broken."""
    if needed := _borrowed(package) & broken.keys():
        return str(NeedsBroken(broken[min(needed)]))
    if dangling := tables.dangling_reference(package):
        table, column = dangling
        return (
            f"its table '{table}' refers to {column}, which is not there; "
            "install or mend the plugin that has it"
        )
    return None


def _former_name(error: BaseException) -> str | None:
    """Return what the error says of quetz that is not there: older plugins import much of it."""
    if isinstance(error, ModuleNotFoundError) and top(error.name or "") == CORE:
        return error.name
    if isinstance(error, ImportError) and (gone := _NAME_GONE.match(str(error))):
        name, module = gone.groups()
        return None if module == "quetz.plugin_api" else f"{module}.{name}"
    if isinstance(error, AttributeError) and error.obj is sys.modules[CORE]:
        return f"{CORE}.{error.name}"
    return None


def _importing(error: BaseException, packages: Collection[str]) -> str:
    """Return which of the packages was being imported innermost, or ``""``."""
    names = [
        top(str(frame.f_globals.get("__name__")))
        for frame, _ in walk_tb(error.__traceback__)
        if frame.f_code.co_name == "<module>"
    ]
    return next((name for name in reversed(names) if name in packages), "")


def _borrowed(package: str) -> set[str]:
    """Return the packages that a package has modules, classes or functions of."""
    found = set()
    for name, module in list(sys.modules.items()):
        if top(name) == package and isinstance(module, ModuleType):
            for value in list(vars(module).values()):
                if isinstance(value, ModuleType):
                    found.add(top(value.__name__))
                elif isinstance(value, (type, FunctionType)):
                    found.add(top(str(value.__module__)))
    return found
