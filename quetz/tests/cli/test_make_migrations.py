"""``quetz make-migrations``: what it prints, where, and how it ends."""

from pathlib import Path

import pytest

from quetz.db.engine import open_engine
from quetz.tests.migrations.databases import run_sql


@pytest.fixture
def configured(tmp_path, empty_database_url):
    """A deployment without a store, on either database."""
    folder = tmp_path / "deployment"
    folder.mkdir()
    url = empty_database_url.render_as_string(hide_password=False)
    (folder / "config.toml").write_text(f"[sqlalchemy]\ndatabase_url = '{url}'\n")
    return folder


def test_an_empty_migration_goes_where_it_is_told_to(quetz, configured, tmp_path):
    options = ("--message", "To fill in", "--empty", "--output", tmp_path / "new")

    result = quetz("make-migrations", configured, *options, "--rev-id", "0002")

    file = tmp_path / "new" / "0002_to_fill_in.py"
    assert (result.exit_code, result.stdout) == (0, f"{file}\n")
    assert list(Path(tmp_path, "new").iterdir()) == [file]


def test_a_check_needs_no_message_and_finds_nothing_to_do(quetz, configured):
    result = quetz("make-migrations", configured, "--check")

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "Nothing changed in quetz: no migration is needed\n"


def test_without_a_message_nothing_is_written(quetz, configured, tmp_path):
    result = quetz("make-migrations", configured, "--empty", "--output", tmp_path / "new")

    assert result.exit_code == 2
    assert "say what the migration does" in result.stderr
    assert not (tmp_path / "new").exists()


def test_drift_of_the_deployments_database_is_told_and_is_in_nobodys_way(
    quetz, configured, empty_database_url
):
    quetz("init-db", configured)
    engine = open_engine(empty_database_url)
    run_sql(engine, "ALTER TABLE users ADD COLUMN shoe_size INTEGER")
    engine.dispose()

    result = quetz("make-migrations", configured, "--message", "x")

    assert (result.exit_code, result.stdout) == (0, "")
    drift = "has users: column shoe_size INTEGER null, default None"
    assert result.stderr.splitlines() == [
        f"Warning: the deployment's database {drift}, unlike what its migrations make",
        "Nothing changed in quetz: no migration is needed",
    ]


@pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
def test_a_database_that_is_away_is_told_without_its_password(
    quetz, configured, empty_database_url
):
    url = empty_database_url.set(host="127.0.0.1", port=1, username="u", password="s3cret")
    text = url.set(query={}).render_as_string(hide_password=False)
    (configured / "config.toml").write_text(f"[sqlalchemy]\ndatabase_url = '{text}'\n")

    result = quetz("make-migrations", configured, "--message", "x")

    first, second, last = result.stderr.splitlines()
    assert first.startswith("Warning: the deployment's database was not looked at: ")
    assert second.startswith("Warning: nothing was tried on PostgreSQL")
    assert last == "Nothing changed in quetz: no migration is needed"
    assert "s3cret" not in result.stderr
    assert result.exit_code == 0
