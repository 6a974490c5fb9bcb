"""The commands as a user meets them."""

import os

import pytest
from typer.testing import CliRunner

from quetz.cli.app import app


@pytest.fixture(autouse=True)
def no_other_settings(tmp_path, monkeypatch):
    """Neither the user's files nor the variables of whoever runs the tests."""
    for name in ("XDG_CONFIG_DIRS", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "no-settings"))
    for name in list(os.environ):
        if name.startswith("QUETZ_") and not name.startswith("QUETZ_TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture
def quetz():
    """Run the command with the arguments; the result has exit_code, stdout and stderr."""

    def run(*arguments, **options):
        return CliRunner().invoke(app, [str(argument) for argument in arguments], **options)

    return run
