"""Each test that plugins get fails for its fault, and for no other."""

import pytest

from quetz.tests.testing.faulty_plugins import ADD_STARS, CREATE, DROP, DROP_STARS, Plugin

LOADED = "test_the_plugin_and_its_models_can_be_loaded"
ONE_HEAD = "test_there_is_one_newest_revision"
APPLIED = "test_all_revisions_can_be_applied"
AS_MODELS = "test_the_migrations_make_what_the_models_say"
SAME_TABLES = "test_tables_are_the_same_by_models_and_by_migrations"
ROWS = "test_rows_survive_each_revision_up_and_down_and_up"
OTHERS = "test_no_revision_touches_what_others_own"
NO_TRACE = "test_a_downgrade_to_the_base_leaves_no_trace"
KILLS = "test_a_kill_at_any_statement_leaves_a_whole_revision"
ALL = {LOADED, ONE_HEAD, APPLIED, AS_MODELS, SAME_TABLES, ROWS, OTHERS, NO_TRACE, KILLS}

RENAMED_KEY = CREATE.replace('name="pk_quetz_notes"', 'name="other"')


@pytest.fixture
def plugin(tmp_path):
    return Plugin.make(tmp_path / "plugin")


@pytest.fixture
def on_sqlite(tmp_path):
    """The variable by which tests run on SQLite alone."""
    return {"QUETZ_TEST_DATABASE": f"sqlite:///{tmp_path / 'test.sqlite'}"}


def second(upgrade, downgrade=DROP_STARS):
    """A fault of the second revision, besides what it has to do."""
    return lambda plugin: plugin.revise("second", upgrade=upgrade, downgrade=downgrade)


def first(upgrade, downgrade=DROP):
    return lambda plugin: plugin.revise("first", upgrade=upgrade, downgrade=downgrade)


def add_a_model(plugin):
    models = plugin.folder / "quetz_notes/db_models.py"
    models.write_text(models.read_text() + "    more: Mapped[str | None]\n")


def fork(plugin):
    plugin.revise("left", parent="second", upgrade="pass")
    plugin.revise("right", parent="second", upgrade="pass")
    plugin.revise("joined", parent=("left", "right"), upgrade="pass")


def replace_a_column(loses):
    """Take out a column and add another, both up and down, as a rename would be written."""

    def replace(plugin):
        models = plugin.folder / "quetz_notes/db_models.py"
        models.write_text(models.read_text().replace("    text: ", "    body: "))
        up = (
            "with op.batch_alter_table('quetz_notes') as batch:\n"
            "    column = sa.Column('{}', sa.String(), server_default='', nullable=False)\n"
            "    batch.add_column(column)\n"
            "    batch.drop_column('{}')\n"
            "with op.batch_alter_table('quetz_notes') as batch:\n"
            "    batch.alter_column('{}', server_default=None)"
        )
        ways = up.format("body", "text", "body"), up.format("text", "body", "text")
        plugin.revise("third", parent="second", upgrade=ways[0], downgrade=ways[1], loses=loses)

    return replace


def replace_a_table(loses):
    def replace(plugin):
        for revision, parent in (("third", "second"), ("fourth", "third")):
            columns = "sa.Column('id', sa.Integer(), primary_key=True)"
            ways = (
                f"op.create_table('quetz_notes_old', {columns})",
                "op.drop_table('quetz_notes_old')",
            )
            up, down = ways if revision == "third" else reversed(ways)
            said = loses if revision == "fourth" else ()
            plugin.revise(revision, parent=parent, upgrade=up, downgrade=down, loses=said)

    return replace


def rename_a_column(plugin):
    models = plugin.folder / "quetz_notes/db_models.py"
    models.write_text(models.read_text().replace("    text: ", "    body: "))
    rename = "op.alter_column('quetz_notes', '{}', new_column_name='{}')"
    ways = rename.format("text", "body"), rename.format("body", "text")
    plugin.revise("third", parent="second", upgrade=ways[0], downgrade=ways[1])


def lose_a_reference(plugin):
    models = plugin.folder / "quetz_notes/db_models.py"
    lines = models.read_text().splitlines(keepends=True)
    models.write_text("".join(line for line in lines if "channel" not in line))
    plugin.revise(
        "third",
        parent="second",
        upgrade="with op.batch_alter_table('quetz_notes') as batch:\n"
        "    batch.drop_constraint('fk_quetz_notes_channel_id_channels', type_='foreignkey')\n"
        "    batch.drop_column('channel_id')",
        downgrade="with op.batch_alter_table('quetz_notes') as batch:\n"
        "    batch.add_column(sa.Column('channel_id', sa.Integer(), nullable=False))\n"
        "    batch.create_foreign_key('fk_quetz_notes_channel_id_channels', 'channels', "
        "['channel_id'], ['id'], ondelete='CASCADE')",
    )


@pytest.mark.parametrize(
    ("spoil", "failing", "sentence"),
    [
        pytest.param(
            lambda plugin: plugin.write("quetz_notes/db_models.py", "nonsense"),
            {LOADED},
            "cannot import quetz_notes.db_models: NameError",
            id="models that cannot be imported",
        ),
        pytest.param(
            lambda plugin: plugin.revise("third", upgrade="pass"),
            {ONE_HEAD},
            "has several heads, second, third",
            id="two heads",
        ),
        pytest.param(
            second(ADD_STARS.replace('server_default="0", ', "")),
            {APPLIED},
            "migration 'second (second revision)' failed",
            id="a column without a value for the rows that are there",
        ),
        pytest.param(
            add_a_model,
            {AS_MODELS, SAME_TABLES},
            "a migration is missing: quetz-notes: add column quetz_notes.more",
            id="a model without a revision",
        ),
        pytest.param(
            first(RENAMED_KEY),
            {SAME_TABLES},
            "only by migrations: quetz_notes: key other on ['id']",
            id="a key with another name",
        ),
        pytest.param(
            second(f"{ADD_STARS}\nop.execute('DELETE FROM quetz_notes')"),
            {ROWS},
            "applying second (second revision): table 'quetz_notes' had 2 rows and has 0",
            id="lost rows",
        ),
        pytest.param(
            second(
                f"{ADD_STARS}\nop.drop_column('quetz_notes', 'text')\nop.add_column("
                "'quetz_notes', sa.Column('text', sa.String(), server_default='', nullable=False))"
                "\nwith op.batch_alter_table('quetz_notes') as batch:"
                "\n    batch.alter_column('text', server_default=None)"
            ),
            {ROWS},
            "column 'text' of table 'quetz_notes' lost 'text'",
            id="lost values",
        ),
        pytest.param(
            replace_a_column(()),
            {ROWS},
            "third (third revision): column 'text' of table 'quetz_notes' lost '2text', 'text'; "
            "rename it or move its values, or name 'quetz_notes.text' in loses",
            id="a column renamed without its values",
        ),
        pytest.param(
            replace_a_table(()),
            {ROWS},
            "fourth (fourth revision): table 'quetz_notes_old' had 2 rows and has 0; ",
            id="a table that went with its rows",
        ),
        pytest.param(
            second(ADD_STARS, "pass"),
            {ROWS},
            "taking back second (second revision): is there: quetz_notes: column stars",
            id="a downgrade that leaves a column",
        ),
        pytest.param(
            first(CREATE, "pass"),
            {ROWS, NO_TRACE},
            "is there: quetz_notes: column id",
            id="a downgrade that leaves a table",
        ),
        pytest.param(
            second(
                f"{ADD_STARS}\nop.add_column('channels', sa.Column('mine', sa.Integer()))",
                f"{DROP_STARS}\nop.drop_column('channels', 'mine')",
            ),
            {OTHERS},
            "applying second (second revision): changes channels: column mine",
            id="a column of others",
        ),
        pytest.param(
            second(f"{ADD_STARS}\nop.execute('UPDATE channels SET ttl = 7')"),
            {OTHERS},
            "applying second (second revision): changes rows of table 'channels'",
            id="rows of others",
        ),
    ],
)
def test_a_fault_fails_its_own_test(plugin, on_sqlite, spoil, failing, sentence):
    spoil(plugin)

    result = plugin.run_tests("-k", "not kill", **on_sqlite)

    assert result.tests("FAILED") == failing
    assert result.tests("ERROR") == set()
    assert sentence in result.output


def in_pieces(statement):
    return f"with op.get_context().autocommit_block():\n    {statement}"


@pytest.fixture
def on_postgresql(empty_database_url):
    return {"QUETZ_TEST_DATABASE": empty_database_url.render_as_string(hide_password=False)}


@pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
def test_a_change_that_cannot_be_repeated_fails_the_test_of_kills(plugin, on_postgresql):
    column = "sa.Column('stars', sa.Integer(), server_default='0', nullable=False)"
    upgrade = in_pieces(f"op.add_column('quetz_notes', {column})")
    plugin.revise("second", upgrade=upgrade, downgrade=DROP_STARS, transactional=False)

    result = plugin.run_tests(**on_postgresql)

    assert result.tests("FAILED") == {KILLS}
    assert "after a kill in second (second revision) the next upgrade fails" in result.output


@pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
def test_a_change_that_can_be_repeated_passes_all_tests(plugin, on_postgresql):
    column = "sa.Column('stars', sa.Integer(), server_default='0', nullable=False)"
    upgrade = in_pieces(f"op.add_column('quetz_notes', {column}, if_not_exists=True)")
    plugin.revise("second", upgrade=upgrade, downgrade=DROP_STARS, transactional=False)

    result = plugin.run_tests_apart(**on_postgresql)

    assert result.tests("PASSED") >= ALL
    assert result.code == 0


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            second(
                "with op.batch_alter_table('quetz_notes') as batch:\n"
                "    batch.add_column(sa.Column('stars', sa.Integer(), server_default='0', "
                "nullable=False))\n"
                "    batch.alter_column('text', type_=sa.String())\n"
                "op.execute(\"UPDATE quetz_notes SET text = 'new'\")"
            ),
            id="a copied table with new values",
        ),
        pytest.param(fork, id="two branches that meet again"),
        pytest.param(rename_a_column, id="a column that was renamed"),
        pytest.param(
            replace_a_column(("quetz_notes.text",)), id="a column that goes with its values"
        ),
        pytest.param(replace_a_table("quetz_notes_old"), id="a table that goes with its rows"),
        pytest.param(lose_a_reference, id="a reference that cannot come back"),
    ],
)
def test_what_is_unusual_and_sound_passes_all_tests(plugin, on_sqlite, change):
    change(plugin)

    result = plugin.run_tests("-k", "not kill", **on_sqlite)

    assert result.tests("PASSED") >= ALL - {KILLS}
    assert result.code == 0, result.output


def test_without_a_migration_there_is_nothing_to_climb(plugin, on_sqlite):
    for file in plugin.folder.glob("quetz_notes/migrations/versions/*.py"):
        file.unlink()
    plugin.write("quetz_notes/db_models.py", "")

    result = plugin.run_tests(**on_sqlite)

    assert result.tests("PASSED") >= {LOADED, ONE_HEAD, APPLIED, AS_MODELS, SAME_TABLES}
    assert "quetz-notes has no migration yet" in result.output
    assert result.code == 0


def test_the_only_plugin_below_the_root_is_found_without_the_option(plugin, on_sqlite):
    plugin.write("pyproject.toml", "[tool.pytest.ini_options]\n")

    result = plugin.run_tests("-k", "loaded", **on_sqlite)

    assert result.tests("PASSED") == {LOADED}


def test_of_two_plugins_one_has_to_be_named(plugin):
    plugin.write("pyproject.toml", "[tool.pytest.ini_options]\n")
    plugin.install("quetz-more")

    result = plugin.run_tests()

    assert result.code == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: 2 plugins of quetz are installed from below" in result.output
    assert "(quetz-more, quetz-notes); name the one to be tested by quetz_plugin" in result.output


def test_a_plugin_that_is_not_installed_is_named_before_any_test(plugin):
    plugin.write("pyproject.toml", '[tool.pytest.ini_options]\nquetz_plugin = "quetz-other"\n')

    result = plugin.run_tests_apart()

    assert result.code == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: quetz_plugin: 'quetz-other' is not installed" in result.output
    assert "passed" not in result.output


def test_whoever_names_a_file_gets_no_other_tests(plugin, on_sqlite):
    result = plugin.run_tests("tests/test_own.py", **on_sqlite)

    assert result.tests("PASSED") == {"test_of_the_plugin_itself"}
