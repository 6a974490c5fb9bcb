"""Writing revisions of the core, into a folder of the test's own."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Engine, Integer, Table, event

from quetz.cli.outcomes import exit_code
from quetz.db.base import Base
from quetz.errors import PluginError
from quetz.errors.migrations import MigrationNeeded, MigrationUnfit, MigrationUnsound
from quetz.migrations import make_migration, upgrade
from quetz.migrations.authoring.proofs import prove
from quetz.migrations.authoring.scratch import scratch_databases
from quetz.migrations.trees import load_tree
from quetz.plugins import Plugins
from quetz.tests.migrations.databases import add_revision, head_of, schema_of


@pytest.fixture
def extra_table():
    """Add a table to the models for as long as the test runs."""
    tables = []

    def add(*columns):
        tables.append(
            Table("extra", Base.metadata, Column("id", Integer, primary_key=True), *columns)
        )

    yield add
    for table in tables:
        Base.metadata.remove(table)


def test_an_empty_folder_gets_a_root_with_the_label_quetz(none_yet):
    file = written(none_yet, "Initial, revision!")

    assert re.fullmatch(r"[0-9a-f]{12}_initial_revision\.py", file.name)
    assert list(Path(none_yet.migrations["quetz"]).glob("*.py")) == [file]
    root = load_tree(none_yet).get_revision("heads")
    assert (root.down_revision, root.dependencies) == (None, None)
    assert root.branch_labels == {"quetz"}
    assert root.doc == "Initial, revision!"


def test_nothing_to_do_writes_no_file(copied):
    folder = copied.migrations["quetz"]
    before = sorted(folder.iterdir())

    assert make_migration(copied, message="again") is None
    assert sorted(folder.iterdir()) == before


def test_the_committed_revisions_are_what_the_models_need(plugins):
    assert make_migration(plugins, message="forgotten") is None


def test_a_revision_is_plain_sqlalchemy(none_yet):
    text = written(none_yet, "initial").read_text()

    imports = re.findall(r"^(?:import|from) .*", text, re.MULTILINE)
    assert imports == ["import sqlalchemy as sa", "from alembic import op"]
    assert 'sa.String().with_variant(sa.String(collation="C"), "postgresql")' in text
    assert 'sa.BigInteger().with_variant(sa.Integer(), "sqlite")' in text
    assert "sqlite_autoincrement=True" in text
    assert "info=" not in text


def test_a_new_column_is_all_that_its_revision_adds(none_yet, empty_engine, plugins):
    root = written(none_yet, "initial")
    forget(root, r'sa.Column\("mirror_mode",.*\n')
    [head] = load_tree(none_yet).get_heads()

    file = written(none_yet, "Mirrors have a mode")

    assert load_tree(none_yet).get_revision("heads").down_revision == head
    assert operations(file) == [
        'batch_op.add_column(sa.Column("mirror_mode", sa.String(length=16), nullable=True))',
        'batch_op.drop_column("mirror_mode")',
    ]
    assert file.read_text().count("batch_alter_table") == 2
    upgrade(empty_engine, none_yet)
    assert "channels: column mirror_mode VARCHAR(16) null, default None" in schema_of(empty_engine)


def test_a_new_index_is_all_that_its_revision_adds(none_yet):
    root = written(none_yet, "initial")
    index = '"ix_files_package_id"'
    forget(root, rf"batch_op.create_index\(\s*batch_op.f\({index}[^)]*\),[^)]*\)", "pass")
    forget(root, rf"batch_op.drop_index\(\s*batch_op.f\({index}\)\s*\)", "pass")

    file = written(none_yet, "index")

    assert operations(file) == [
        f'batch_op.create_index(batch_op.f({index}), ["package_id"], unique=False)',
        f"batch_op.drop_index(batch_op.f({index}))",
    ]


def test_a_table_without_a_model_is_dropped(copied):
    add_revision(
        copied,
        "aaaa",
        upgrade="op.create_table('old', sa.Column('id', sa.Integer, primary_key=True))",
        downgrade="op.drop_table('old')",
    )

    file = written(copied, "drop")

    assert operations(file)[0] == 'op.drop_table("old")'
    assert make_migration(copied, message="again") is None


@pytest.mark.parametrize(
    "message",
    [
        pytest.param('say """hi"""', id="quotes"),
        pytest.param("ends with \\", id="backslash"),
        pytest.param('ends with "', id="quote-at-the-end"),
        pytest.param("${1 / 0} <% %>", id="template"),
        pytest.param("naïve 100 %", id="not-ascii"),
        pytest.param("!", id="no-letter"),
    ],
)
def test_any_message_can_be_told(none_yet, message):
    make_migration(none_yet, message=message)

    assert load_tree(none_yet).get_revision("heads").doc == message


def test_a_revision_that_cannot_be_taken_back_is_not_kept(copied):
    add_revision(
        copied,
        "aaaa",
        upgrade="op.execute('CREATE TABLE old (name TEXT COLLATE NOCASE)')",
        downgrade="op.drop_table('old')",
    )
    folder = copied.migrations["quetz"]
    before = sorted(folder.glob("*.py"))

    sentence = (
        "in a scratch database on SQLite, its downgrade leaves a difference: old: column name by "
        "NOCASE; your database was left alone; .* make a file with --empty"
    )
    with pytest.raises(MigrationUnsound, match=sentence):
        make_migration(copied, message="drop")

    assert sorted(folder.glob("*.py")) == before


def test_a_revision_whose_proof_is_interrupted_is_not_kept(copied):
    add_revision(
        copied,
        "aaaa",
        upgrade="op.create_table('old', sa.Column('id', sa.Integer))",
        downgrade="op.drop_table('old')",
    )
    folder = copied.migrations["quetz"]
    before = sorted(folder.glob("*.py"))

    def interrupt(_connection, _cursor, statement, *_):
        if "DROP TABLE old" in statement:
            raise KeyboardInterrupt

    event.listen(Engine, "before_cursor_execute", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make_migration(copied, message="drop")
    event.remove(Engine, "before_cursor_execute", interrupt)

    assert sorted(folder.glob("*.py")) == before


def test_a_migration_that_is_needed_is_told_and_not_written_by_a_check(none_yet):
    root = written(none_yet, "initial")
    forget(root, r'sa.Column\("mirror_mode",.*\n')

    with pytest.raises(MigrationNeeded) as needed:
        make_migration(none_yet, message="x", check=True)

    line = "add column channels.mirror_mode VARCHAR(16) null"
    assert needed.value.differences == (line,)
    assert line in str(needed.value)
    assert exit_code(needed.value) == 4
    assert list(root.parent.glob("*.py")) == [root]


def test_a_check_finds_nothing_where_no_migration_is_needed(plugins):
    assert make_migration(plugins, message="x", check=True) is None


def test_an_empty_revision_is_written_if_it_is_wanted(copied, empty_engine):
    head = head_of(copied)

    file = written(copied, "to be filled in", empty=True)

    [script] = [load_tree(copied).get_revision("heads")]
    assert (script.down_revision, Path(script.path)) == (head, file)
    assert operations(file) == []
    for line in (
        "-> None:\n    # Write how to go up here.\n",
        "    # Write how to go back down here.\n",
    ):
        assert line in file.read_text()
    assert "Alembic" not in file.read_text()
    assert upgrade(empty_engine, copied).applied[-1] == script.revision


def test_a_revision_can_be_written_elsewhere_under_an_id_of_ones_own(copied, tmp_path):
    folder = copied.migrations["quetz"]
    before = sorted(folder.iterdir())

    file = written(copied, "Mine", empty=True, output=tmp_path / "new", rev_id="0001_mine")

    assert file == tmp_path / "new" / "0001_mine_mine.py"
    assert 'revision: str = "0001_mine"' in file.read_text()
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("rev_id", "reason"),
    [
        pytest.param("", "must have 1 to 32", id="none"),
        pytest.param("a" * 33, "must have 1 to 32", id="long"),
        pytest.param("a-b", "characters 0-9, a-z and _", id="dash"),
        pytest.param("../x", "characters 0-9, a-z and _", id="path"),
        pytest.param("4bd032e7beb5", "is taken by a migration of 'quetz'", id="taken"),
    ],
)
def test_an_id_that_does_not_fit_is_refused(copied, rev_id, reason):
    before = sorted(copied.migrations["quetz"].iterdir())

    with pytest.raises(MigrationUnsound, match=reason):
        make_migration(copied, message="x", empty=True, rev_id=rev_id)

    assert sorted(copied.migrations["quetz"].iterdir()) == before


def test_a_new_column_without_a_value_for_the_rows_there_is_refused(none_yet):
    root = written(none_yet, "initial")
    forget(root, r'sa.Column\("private",.*\n')

    with pytest.raises(
        PluginError, match=r"channels\.private must not be null.*a server_default.* by hand"
    ):
        make_migration(none_yet, message="private")

    assert list(root.parent.glob("*.py")) == [root]


def test_a_unique_column_with_one_default_for_all_rows_is_refused(none_yet, extra_table):
    extra_table()
    written(none_yet, "initial")
    value = Column("c", Integer, server_default="7", nullable=False, unique=True)
    Base.metadata.tables["extra"].append_column(value)

    with pytest.raises(MigrationUnsound, match=r"made-up rows .* on SQLite, it fails: .*UNIQUE"):
        make_migration(none_yet, message="all alike")


def test_a_name_that_postgresql_would_cut_off_is_refused(none_yet, extra_table):
    extra_table(Column("x" * 64, Integer))

    with pytest.raises(PluginError, match=r"the name 'x{64}' has 64 bytes, .* takes 63"):
        make_migration(none_yet, message="long")

    assert list(none_yet.migrations["quetz"].iterdir()) == []


def test_an_installed_copy_is_not_written_to(plugins, tmp_path, monkeypatch):
    site = tmp_path / "site-packages"
    monkeypatch.syspath_prepend(str(site))
    versions = site / "quetz/migrations/versions"
    versions.mkdir(parents=True)
    copy = replace(plugins, migrations={"quetz": versions})

    with pytest.raises(PluginError, match=r"copy in '.*site-packages'.*pip install -e.*--output"):
        make_migration(copy, message="x")

    assert list(versions.iterdir()) == []
    assert written(copy, "x", output=tmp_path / "new").parent == tmp_path / "new"


def test_a_revision_that_loses_rows_is_unsound(copied):
    add_revision(copied, "aaaa", upgrade="op.execute('DELETE FROM channel_members')")

    with scratch_databases(None, print) as [scratch]:
        scratch.build(copied, ["4bd032e7beb5"])
        with pytest.raises(MigrationUnsound, match="'channel_members' had 2 rows and has 0"):
            prove(scratch, copied, "quetz", "aaaa", "4bd032e7beb5")


def test_a_failing_revision_below_is_named(copied):
    add_revision(copied, "aaaa", upgrade="1 / 0")

    sentence = (
        r"'aaaa .* failed in a scratch database on SQLite: .*division by zero; "
        "your database was left alone; mend"
    )
    with pytest.raises(MigrationUnfit, match=sentence):
        make_migration(copied, message="x")


def test_a_column_that_may_have_been_renamed_is_told(none_yet):
    root = written(none_yet, "initial")
    text = root.read_text()
    assert text.count('"mirror_mode"') == 1
    root.write_text(text.replace('"mirror_mode"', '"mirroring"'))
    warnings: list[str] = []

    written(none_yet, "rename", warn=warnings.append)

    [warning] = warnings
    assert "drops column channels.mirroring with its values" in warning
    assert 'op.alter_column("channels", "mirroring", new_column_name="mirror_mode")' in warning


def test_a_revision_says_what_it_loses_for_good(copied):
    columns = "sa.Column('id', sa.Integer, primary_key=True)"
    add_revision(
        copied,
        "aaaa",
        upgrade=f"op.create_table('old', {columns}); "
        "op.add_column('users', sa.Column('shoe_size', sa.Integer))",
        downgrade="op.drop_column('users', 'shoe_size'); op.drop_table('old')",
    )

    text = written(copied, "drop").read_text()

    assert 'loses: tuple[str, ...] = ("old", "users.shoe_size")\n' in text


def test_the_core_is_initialised_once(copied):
    with pytest.raises(PluginError, match=f"already at {head_of(copied)}; leave out --initialize"):
        make_migration(copied, message="x", initialize=True)


def test_two_heads_are_refused(copied):
    folder = copied.migrations["quetz"]
    add_revision(copied, "aaaa")
    text = Path(folder, "aaaa_test.py").read_text()
    Path(folder, "bbbb_test.py").write_text(text.replace("aaaa", "bbbb"))

    with pytest.raises(PluginError, match="several heads, aaaa, bbbb;"):
        make_migration(copied, message="x")


def test_a_folder_with_blanks_and_percent_signs_works(plugins, tmp_path):
    folder = tmp_path / "100 % a:b, ü"
    folder.mkdir()
    odd = replace(plugins, migrations={"quetz": folder})

    file = written(odd, "initial")

    assert file.parent == folder


def written(plugins: Plugins, message: str, **options: Any) -> Path:
    file = make_migration(plugins, message=message, **options)
    assert file is not None
    return file


def forget(file: Path, pattern: str, instead: str = "") -> None:
    """Take out what matches the pattern, as if the models had got it later."""
    text, count = re.subn(pattern, instead, file.read_text())
    assert count == 1
    file.write_text(text)


def operations(file: Path) -> list[str]:
    """Return the operations of upgrade and downgrade, each in one line."""
    body = re.sub(r"\s+", " ", file.read_text())
    found = re.findall(
        r"(?:batch_op|op)\.(?!batch_alter|f\().*?\)(?= (?:#|with|op|batch_op))", body
    )
    return [re.sub(r"\( (.*),? \)$", r"(\1)", operation) for operation in found]
