"""The tests of a plugin's migrations, and the fixtures of quetz: a pytest plugin.

``pytest_plugins = ["quetz.testing.migrations"]`` in the top ``conftest.py`` of a plugin's tests
loads it. The tests run whenever a whole folder is tested, as ``quetz.testing.migrations::...``.
"""

from collections.abc import Generator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from quetz.testing.migrations.choosing import OPTION, find_plugin

pytest_plugins = ["quetz.testing.fixtures"]

TESTED = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(OPTION, "The plugin of quetz whose migrations are tested.", default="")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TESTED] = find_plugin(config)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if isinstance(collector, pytest.Session) and _tests_a_folder(collector.config):
        report.result.append(_Suite.of(collector))
    return report


class _Suite(pytest.Module):
    """The module ``suite``, under the name that authors of plugins know."""

    @classmethod
    def of(cls, session: pytest.Session) -> "_Suite":
        path = Path(__file__).with_name("suite.py")
        suite: _Suite = cls.from_parent(session, path=path, name=__name__, nodeid=__name__)
        return suite

    def _getobj(self) -> ModuleType:
        return import_module(f"{__name__}.suite")  # by its own name, not by its path


def _tests_a_folder(config: pytest.Config) -> bool:
    """Tell whether more is to be tested than a file or a test of it."""
    return any(Path(config.invocation_params.dir, argument).is_dir() for argument in config.args)
