"""Each exit code of a migration is reached; 0, 2, 3 and 4 in test_migrations.py."""

import pytest

from quetz.migrations.locks import alone
from quetz.plugins import load_plugins
from quetz.tests.migrations.databases import head_of, revisions_of, tables_in
from quetz.tests.migrations.distributions import Site

HEAD = str(head_of(load_plugins([])))


def test_a_revision_that_fails_ends_with_1(quetz, configured, newer, engine_of):
    quetz("init-db", configured)
    file = newer.add("aaaa", "op.create_table('later', sa.Column('id', sa.Integer)); 1 / 0")

    ended = newer.command("init-db", configured)

    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        f"quetz: migration 'aaaa (aaaa)' failed and was rolled back: {file}, line 13: "
        f"ZeroDivisionError: division by zero; the database stands at {HEAD}"
    )
    assert "later" not in tables_in(engine_of(configured))


def test_a_lock_that_is_held_ends_with_5(quetz, on_each, engine_of):
    with alone(engine_of(on_each)):
        result = quetz("init-db", on_each, "--lock-timeout", "0")

    assert result.exit_code == 5
    assert "has been migrating the database" in result.stderr


def test_a_newer_database_ends_with_6_for_the_older_release(quetz, configured, newer):
    newer.add("aaaa", "pass")
    assert newer.command("init-db", configured).returncode == 0

    for command in (["init-db"], ["migrations", "status"], ["start"]):
        result = quetz(*command, configured)

        assert result.exit_code == 6
        assert "the database is ahead of 'quetz': aaaa" in result.output


def test_a_revision_that_was_edited_ends_with_7(quetz, configured, newer):
    file = newer.add("aaaa", "pass")
    newer.command("init-db", configured)
    file.write_text(file.read_text().replace("pass", "op.execute('SELECT 1')"))

    ended = newer.command("migrations", "check", configured)

    assert ended.returncode == 7
    assert "aaaa" in ended.stderr


def test_a_backup_that_cannot_be_made_ends_with_8_and_nothing_is_changed(
    quetz, configured, newer, engine_of
):
    quetz("init-db", configured)
    newer.add("aaaa", "op.create_table('later', sa.Column('id', sa.Integer))")
    (configured / "backups").write_text("no folder")

    ended = newer.command("init-db", configured)

    assert ended.returncode == 8
    assert "nothing was changed" in ended.stderr
    assert "later" not in tables_in(engine_of(configured))


def test_work_that_is_found_wrong_ends_with_10(quetz, configured, newer):
    quetz("init-db", configured)
    newer.add("aaaa", "op.drop_table('file_downloads')")

    ended = newer.command("init-db", configured)

    assert ended.returncode == 10
    assert "found wrong and was rolled back" in ended.stderr


@pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
def test_what_fails_outside_a_transaction_ends_with_11(quetz, on_each, newer):
    quetz("init-db", on_each)
    file = newer.add("aaaa", "with op.get_context().autocommit_block():\n        1 / 0")
    file.write_text(f"{file.read_text()}\n\ntransactional = False\n")

    ended = newer.command("init-db", on_each, "--no-backup")

    assert ended.returncode == 11
    assert "run quetz init-db again" in ended.stderr


def test_a_broken_plugin_ends_with_12_and_the_others_are_migrated(configured, tmp_path, engine_of):
    site = Site(tmp_path / "site")
    site.install("quetz-foo", {"db_models.py": "1 / 0"})

    ended = site.command("init-db", configured)

    assert ended.returncode == 12
    assert ended.stdout.split() == revisions_of(load_plugins([]))
    assert "plugin 'quetz-foo': cannot import quetz_foo.db_models" in ended.stderr
    assert "channels" in tables_in(engine_of(configured))
