"""Leaves out plugins that were loaded, and turned out to be broken later."""

from collections.abc import Mapping
from dataclasses import replace

import pluggy

from quetz import hooks
from quetz.errors import PluginError
from quetz.plugins.calls import Plugins


def leave_out(plugins: Plugins, broken: Mapping[str, PluginError]) -> Plugins:
    """Return the plugins but those in ``broken``: none of their hooks is called any more."""
    callers = vars(plugins.hook).values()
    loaded = {one.plugin_name: one.plugin for caller in callers for one in caller.get_hookimpls()}
    manager = pluggy.PluginManager("quetz")
    manager.add_hookspecs(hooks)
    for name in sorted(loaded.keys() - broken.keys()):  # as they were, for calls go by the order
        manager.register(loaded[name], name=name)
    return replace(
        plugins,
        hook=manager.hook,
        migrations={name: at for name, at in plugins.migrations.items() if name not in broken},
        packages={at: name for at, name in plugins.packages.items() if name not in broken},
        broken=plugins.broken | dict(broken),
    )
