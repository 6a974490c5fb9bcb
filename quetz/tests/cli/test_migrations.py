import sqlite3

import pytest


@pytest.fixture
def configured(tmp_path):
    """A folder with nothing but a configuration."""
    (tmp_path / "config.toml").write_text("")
    return tmp_path


def test_init_db_prints_what_it_applied_and_the_second_time_nothing(quetz, configured):
    first = quetz("init-db", configured)
    second = quetz("init-db", configured)

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert len(first.stdout.split()) >= 1
    assert (second.stdout, second.stderr) == ("", "The database is up to date\n")
    assert {entry.name for entry in configured.iterdir()} == {"config.toml", "quetz.sqlite"}


def test_init_db_works_on_either_database(quetz, configured, empty_database_url):
    url = empty_database_url.render_as_string(hide_password=False)
    (configured / "config.toml").write_text(f"[sqlalchemy]\ndatabase_url = '{url}'\n")

    result = quetz("init-db", configured)

    assert result.exit_code == 0
    assert len(result.stdout.split()) >= 1


def test_init_db_leaves_a_database_alone_that_is_not_its_own(quetz, configured):
    with sqlite3.connect(configured / "quetz.sqlite") as database:
        database.execute("CREATE TABLE users (id INTEGER)")
    database.close()

    result = quetz("init-db", configured)

    assert result.exit_code == 6
    assert "it was left untouched" in result.stderr


def test_make_migrations_writes_nothing_when_nothing_changed(quetz, configured):
    result = quetz("make-migrations", configured, "--message", "nothing")

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "Nothing changed: no migration is needed\n"


def test_make_migrations_names_a_plugin_that_is_not_there(quetz, configured):
    result = quetz("make-migrations", configured, "--message", "x", "--plugin", "quetz-nowhere")

    assert result.exit_code == 2
    assert "quetz-nowhere" in result.stderr


@pytest.mark.parametrize("command", [["init-db"], ["make-migrations", "--message", "x"]])
def test_a_folder_without_a_configuration_is_no_deployment(quetz, tmp_path, command):
    result = quetz(*command, tmp_path)

    assert result.exit_code == 2
    assert result.stderr == (
        f"quetz: '{tmp_path}' is not a quetz deployment (no config.toml); "
        f"make one with: quetz create {tmp_path}\n"
    )
    assert list(tmp_path.iterdir()) == []
