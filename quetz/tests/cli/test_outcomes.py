import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from quetz import __version__, errors
from quetz.cli.outcomes import EXIT_CODES, Commands, exit_code
from quetz.errors import migrations

OF_MIGRATIONS = {
    migrations.BackupFailed: 8,
    migrations.BackupToolMissing: 8,
    migrations.BackupUnsound: 8,
    migrations.MigrationEdited: 7,
    migrations.MigrationFailed: 1,
    migrations.MigrationHalfDone: 11,
    migrations.MigrationLocked: 5,
    migrations.MigrationNeeded: 4,
    migrations.MigrationSplit: 11,
    migrations.MigrationUncertain: 1,
    migrations.MigrationUnfit: 1,
    migrations.MigrationUnsound: 2,
    migrations.MigrationsMissing: 3,
    migrations.NoSchema: 1,
    migrations.PluginsSkipped: 12,
    migrations.PluginsUnchecked: 12,
    migrations.PostgreSQLUnseen: 1,
    migrations.RestoreFailed: 8,
    migrations.RevisionNotFound: 2,
    migrations.SchemaAhead: 6,
    migrations.SchemaBehind: 3,
    migrations.SchemaChanged: 1,
    migrations.SchemaDrifted: 4,
    migrations.SchemaUnknown: 6,
    migrations.VerificationFailed: 10,
}


def test_every_kind_of_error_has_an_exit_code():
    assert set(errors.KINDS) <= set(EXIT_CODES)


def test_every_error_of_migrations_has_its_exit_code():
    codes = {
        kind: exit_code(kind.__new__(kind))
        for kind in vars(migrations).values()
        if isinstance(kind, type)
        and issubclass(kind, errors.QuetzError)
        and kind.__module__ == migrations.__name__
    }

    assert codes == OF_MIGRATIONS


@pytest.fixture
def fail():
    """Run a command that raises ``error``."""

    def run(error, *options):
        app = typer.Typer(cls=Commands, pretty_exceptions_enable=False)

        @app.callback()
        def root(debug: bool = False) -> None:
            """Take --debug, as the command quetz does."""

        @app.command()
        def command() -> None:
            raise error

        return CliRunner().invoke(app, [*options, "command"])

    return run


@pytest.mark.parametrize(
    ("error", "code"),
    [
        pytest.param(errors.DeploymentNotFound(Path("x")), 2, id="missing deployment"),
        pytest.param(errors.BadConfig("x"), 2, id="bad configuration"),
        pytest.param(errors.PortTaken("127.0.0.1", 8000), 1, id="taken port"),
        pytest.param(migrations.SchemaBehind("x"), 3, id="pending migrations"),
        pytest.param(migrations.SchemaUnknown("a table"), 6, id="unknown schema"),
        pytest.param(errors.DatabaseUnavailable(), 1, id="database away"),
    ],
)
def test_a_named_error_is_one_sentence_on_standard_error(fail, error, code):
    result = fail(error)

    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr == f"quetz: {error}\n"


def test_an_error_does_not_steer_the_terminal(fail):
    result = fail(errors.BadOption("\x1b[2J\nquetz: \u202eall is well"))

    assert result.stderr == "quetz: \\x1b[2J\\x0aquetz: \\u202eall is well\n"


def test_an_error_of_the_system_names_the_file(fail):
    result = fail(PermissionError(13, "Permission denied", "/srv/quetz"))

    assert (result.exit_code, result.stderr) == (1, "quetz: '/srv/quetz': Permission denied\n")


def test_an_unexpected_error_is_one_line_without_secrets(fail):
    result = fail(RuntimeError("cannot reach postgresql://quetz:p%40ss:w@rd@db/quetz\nand more"))

    assert result.exit_code == 1
    assert result.stderr == (
        "quetz: unexpected error: RuntimeError: cannot reach postgresql://quetz:***@db/quetz; "
        "run quetz --debug for the traceback\n"
    )


def test_debug_adds_the_traceback_without_secrets(fail):
    result = fail(RuntimeError("cannot reach postgresql://quetz:s3cret@db/quetz"), "--debug")

    assert result.exit_code == 1
    assert result.stderr.startswith("Traceback (most recent call last):\n")
    assert "s3cret" not in result.stderr


def test_ctrl_c_is_one_sentence(fail):
    result = fail(KeyboardInterrupt())

    assert (result.exit_code, result.stderr) == (130, "quetz: interrupted\n")


@pytest.fixture
def unread():
    """The end of a pipe that is written to, without a reader."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@pytest.mark.parametrize("errors", ["apart", "there, too"])
@pytest.mark.parametrize("arguments", [["migrations", "status", "."], ["--version"]])
def test_a_reader_that_went_away_ends_a_command_in_silence(tmp_path, unread, arguments, errors):
    (tmp_path / "config.toml").touch()
    command = [sys.executable, "-m", "quetz", *arguments]
    stderr = subprocess.PIPE if errors == "apart" else subprocess.STDOUT

    result = subprocess.run(command, cwd=tmp_path, stdout=unread, stderr=stderr, check=False)

    assert (result.returncode, result.stderr or b"") == (1, b"")


def test_another_broken_pipe_is_told(fail):
    result = fail(BrokenPipeError(32, "Broken pipe"))

    assert result.stderr.startswith("quetz: unexpected error: BrokenPipeError")


def test_wrong_usage_ends_with_2(quetz):
    assert quetz("create").exit_code == 2
    assert quetz("create", "x", "--no-such-option").exit_code == 2
    assert quetz("no-such-command").exit_code == 2


def test_the_version_is_printed():
    command = [sys.executable, "-m", "quetz", "--version"]

    result = subprocess.run(command, capture_output=True, text=True, check=True)

    assert (result.stdout, result.stderr) == (f"quetz {__version__}\n", "")


def test_the_commands_load_no_library_before_they_need_it():
    program = "import sys, quetz.cli.app; print(*sys.modules)"

    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    loaded = {name.partition(".")[0] for name in result.stdout.split()}
    assert "typer" in loaded
    assert loaded.isdisjoint({"sqlalchemy", "alembic", "fastapi", "pydantic", "granian", "rattler"})
