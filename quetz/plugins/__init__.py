"""Finds and loads plugins, and knows which table and which migrations belong to which.

A plugin is an installed distribution with an entry point in group ``quetz`` that names its
module of hooks; the name of the entry point is the plugin's. By convention its models are in
``<package>.db_models`` and its migrations in ``<package>/migrations/versions``. Entry points in
the groups ``quetz.models`` and ``quetz.migrations`` name other places. A plugin that is broken is
left out, and the others go on.
"""

from quetz.plugins.calls import PluginFailed, Plugins, TransactionEnded
from quetz.plugins.installed import CORE
from quetz.plugins.loading import check_usable, find_plugins, load_plugins

__all__ = [
    "CORE",
    "PluginFailed",
    "Plugins",
    "TransactionEnded",
    "check_usable",
    "find_plugins",
    "load_plugins",
]
