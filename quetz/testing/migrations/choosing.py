"""Finds out which plugin is to be tested."""

from pathlib import Path

import pytest

from quetz.errors import PluginError
from quetz.migrations.authoring.sites import check_is_source
from quetz.plugins.installed import Installed, find_installed
from quetz.settings import spelt

OPTION = "quetz_plugin"


def find_plugin(config: pytest.Config) -> str:
    """Return the plugin that the option names, or the only one that lies below the root folder.

    Raises:
        UsageError: there is none, or there are several.
    """
    installed = find_installed()
    wanted = config.getini(OPTION)
    if wanted:
        for name in installed:
            if spelt(name) == spelt(wanted):
                return name
        raise pytest.UsageError(
            f"{OPTION}: '{wanted}' is not installed; install it with: pip install -e <its folder>"
        )
    found = [name for name, plugin in installed.items() if _is_source(plugin, config.rootpath)]
    if len(found) != 1:
        raise pytest.UsageError(
            f"{len(found)} plugins of quetz are installed from below '{config.rootpath}' "
            f"({', '.join(found) or 'none'}); name the one to be tested by {OPTION} in "
            "[tool.pytest.ini_options], and install it with: pip install -e <its folder>"
        )
    return found[0]


def _is_source(plugin: Installed, folder: Path) -> bool:
    try:
        versions = plugin.versions().resolve()
        check_is_source(plugin.name, versions)
    except PluginError:
        return False
    return versions.is_relative_to(folder.resolve())
