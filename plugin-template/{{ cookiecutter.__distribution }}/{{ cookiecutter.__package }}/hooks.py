"""What quetz calls of this plugin; quetz's docs/reference/hooks.md describes all hooks."""

import logging

from quetz.plugin_api import Channel, GuardedRouter, hookimpl

from .api import router

# A name below "quetz" is logged at the level of quetz's own log.
_log = logging.getLogger("quetz.{{ cookiecutter.__distribution }}")


@hookimpl
def routers() -> list[GuardedRouter]:
    return [router]


@hookimpl
def index_published(channel: Channel, subdir: str, generation: int) -> None:
    place = f"{channel.name}/{subdir}" if subdir else channel.name
    _log.info("the index of %s has reached generation %d", place, generation)
