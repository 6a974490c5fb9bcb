"""Opening a deployment's database, migrating it, and writing to it."""

from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event, text

from quetz.db.engine import open_engine
from quetz.deployment import Deployment, backups_of, database_url, migrate
from quetz.errors import BadConfig, DatabaseUnavailable, StorageFull
from quetz.errors.migrations import BackupToolMissing, SchemaBehind, SchemaChanged
from quetz.migrations.progress import Progress
from quetz.plugins import load_plugins
from quetz.settings import load_settings
from quetz.storage.local import LocalStore
from quetz.tests.migrations.databases import add_revision, heads_in, run_sql
from quetz.tests.migrations.distributions import Refused, Site

SECRET = "p%40ss:w@rd/%"
on_sqlite = pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
POOLED = "postgresql://quetz@localhost:6432/quetz"


@pytest.fixture
def path(tmp_path, empty_database_url) -> Path:
    """A deployment whose database has no table."""
    folder = tmp_path / "deployment"
    folder.mkdir()
    url = empty_database_url.render_as_string(hide_password=False)
    (folder / "config.toml").write_text(f"[sqlalchemy]\ndatabase_url = '{url}'\n")
    return folder


@pytest.fixture
def plugins(tmp_path):
    """The plugins, with a folder of revisions that a test may add to."""
    plugins = load_plugins([])
    folder = tmp_path / "versions"
    folder.mkdir()
    for file in plugins.migrations["quetz"].glob("*.py"):
        (folder / file.name).write_bytes(file.read_bytes())
    return replace(plugins, migrations={"quetz": folder})


@pytest.fixture
def behind(path, plugins):
    """The arguments of ``migrate`` for a database that lacks a revision."""
    settings = load_settings(path)
    migrate(path, settings, plugins)
    add_revision(plugins, "newer")
    return path, settings, plugins


def configured(path, **keys):
    lines = [f"{key} = '{value}'\n" for key, value in keys.items()]
    (path / "config.toml").write_text("[sqlalchemy]\n" + "".join(lines))
    return load_settings(path)


def keeping_one(settings):
    migrations = settings.migrations.model_copy(update={"backups_kept": 1})
    return settings.model_copy(update={"migrations": migrations})


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        pytest.param(
            {"database_url": POOLED, "migration_url": f"no url {SECRET}"},
            "migration_url is not a database URL",
            id="no URL",
        ),
        pytest.param(
            {"database_url": POOLED, "migration_url": f"mysql://me:{SECRET}@localhost/x"},
            "migration_url names 'mysql'; use sqlite:/// or postgresql://",
            id="another database",
        ),
        pytest.param(
            {"database_url": POOLED, "migration_url": f"sqlite:///{SECRET}"},
            "have to be postgresql:// URLs; remove it",
            id="SQLite",
        ),
        pytest.param(
            {"migration_url": f"postgresql://me:{SECRET}@localhost/x"},
            "have to be postgresql:// URLs; remove it",
            id="of a SQLite deployment",
        ),
    ],
)
def test_a_migration_url_leads_to_postgresql(tmp_path, keys, reason):
    settings = configured(tmp_path, **keys)

    with pytest.raises(BadConfig, match=reason) as refused:
        database_url(tmp_path, settings)

    assert SECRET not in str(refused.value)


def test_migrations_go_past_the_pooler_and_nothing_else_does(tmp_path):
    settings = configured(tmp_path, database_url=POOLED, migration_url=f"{POOLED}_direct")

    urls = [database_url(tmp_path, settings, for_migrations=flag) for flag in (False, True)]

    assert [url.database for url in urls] == ["quetz", "quetz_direct"]
    assert {url.drivername for url in urls} == {"postgresql+psycopg"}


@on_postgresql
def test_a_database_is_migrated_although_its_pooler_is_away(path, plugins, empty_database_url):
    away = empty_database_url.set(port=1).render_as_string(hide_password=False)
    direct = empty_database_url.render_as_string(hide_password=False)
    settings = configured(path, database_url=away, migration_url=direct)

    outcome = migrate(path, settings, plugins)

    engine = open_engine(empty_database_url)
    assert heads_in(engine) == set(outcome.heads)
    engine.dispose()


def test_an_empty_database_needs_no_backup(path, plugins):
    outcome = migrate(path, load_settings(path), plugins)

    assert (len(outcome.applied) > 0, outcome.backup) == (True, None)
    assert not (path / "backups").exists()


@on_sqlite
def test_what_a_database_holds_is_backed_up_before_it_changes(behind):
    path, settings, _ = behind

    outcome = migrate(*behind)

    [backup] = backups_of(path, settings).list()
    assert outcome.applied == ["newer"]
    assert outcome.backup == backup.file
    assert backup.file.parent == path / "backups"
    assert "newer" not in backup.heads


@on_sqlite
def test_backups_beyond_those_to_keep_are_removed(behind):
    path, settings, plugins = behind[0], keeping_one(behind[1]), behind[2]
    migrate(path, settings, plugins)
    add_revision(plugins, "newest")

    outcome = migrate(path, settings, plugins)

    assert [backup.file for backup in backups_of(path, settings).list()] == [outcome.backup]


@on_sqlite
def test_a_backup_can_go_to_another_folder_where_none_is_removed(behind, tmp_path):
    path, settings, plugins = behind[0], keeping_one(behind[1]), behind[2]
    folder = tmp_path / "elsewhere"

    first = migrate(path, settings, plugins, backup=folder).backup
    add_revision(plugins, "newest")
    second = migrate(path, settings, plugins, backup=folder).backup

    assert {first, second} <= set(folder.glob("*.sqlite"))
    assert not (path / "backups").exists()


def test_a_backup_can_be_left_out(behind):
    outcome = migrate(*behind, backup="none")

    assert (outcome.applied, outcome.backup) == (["newer"], None)


@on_postgresql
def test_without_a_means_to_make_a_backup_migrations_go_on_and_tell_it(behind, monkeypatch):
    monkeypatch.setenv("PATH", "")
    told: list[Progress] = []

    outcome = migrate(*behind, watch=told.append)

    [warning] = [progress.sentence for progress in told if progress.event == "warning"]
    assert warning.startswith("Going on without a backup: ")
    assert "nothing was changed" not in warning
    assert (outcome.applied, outcome.backup) == (["newer"], None)


@on_postgresql
@pytest.mark.parametrize("choice", ["require", Path("elsewhere")])
def test_a_backup_that_was_asked_for_is_made_or_nothing_is(
    behind, empty_database_url, tmp_path, monkeypatch, choice
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    engine = open_engine(empty_database_url)
    before = heads_in(engine)

    with pytest.raises(BackupToolMissing):
        migrate(*behind, backup=choice)

    assert heads_in(engine) == before
    engine.dispose()


def test_who_reads_a_database_that_changed_may_not_write_until_it_is_put_back(deployment):
    head = deployment.schema.status.heads[0]
    run_sql(deployment.engine, "UPDATE alembic_version SET version_num = 'other'")
    deployment.schema.look()

    with pytest.raises(SchemaChanged), deployment.transaction(write=True):
        pytest.fail("this must not be reached")
    with deployment.transaction() as session:
        recorded = session.scalar(text("SELECT version_num FROM alembic_version"))
    run_sql(deployment.engine, f"UPDATE alembic_version SET version_num = '{head}'")
    deployment.schema.look()

    with deployment.transaction(write=True) as session:
        put_back = session.scalar(text("SELECT version_num FROM alembic_version"))
    assert (recorded, put_back) == ("other", head)


@pytest.mark.parametrize(
    ("keys", "opens"),
    [
        pytest.param({}, False, id="as it is"),
        pytest.param({"on_mismatch": "refuse"}, False, id="refuse"),
        pytest.param({"on_mismatch": "migrate"}, True, id="migrate"),
    ],
)
def test_a_deployment_without_tables_is_opened_if_it_may_migrate(
    path, empty_database_url, keys, opens
):
    engine = open_engine(empty_database_url)
    engine.connect().close()  # which makes the file
    LocalStore.create(path / "store").close()
    configured(path, database_url=empty_database_url.render_as_string(hide_password=False), **keys)

    with nullcontext() if opens else pytest.raises(SchemaBehind, match="quetz init-db"):
        Deployment.open(path).close()

    assert bool(heads_in(engine)) is opens
    engine.dispose()


UNSOUND = {
    "hooks.py": """\
        from quetz.plugin_api import hookimpl

        @hookimpl
        def routers():
            return []
    """,
    "migrations/versions/bad.py": "raise RuntimeError('unsound')",
}
OPENED = """\
    from pathlib import Path
    from quetz.deployment import Deployment

    deployment = Deployment.open(Path({path!r}))
    deployment.close()
    plugins = deployment.plugins
    return [list(plugins.broken), list(plugins.migrations), plugins.implements("routers")]
"""


@pytest.fixture
def site(tmp_path):
    """A plugin that has a hook, and migrations that are unsound."""
    site = Site(tmp_path / "site")
    site.install("quetz-bad", UNSOUND)
    return site


def test_a_plugin_whose_migrations_are_unsound_has_no_hooks_any_more(deployment_path, site):
    opened = site.run(OPENED.format(path=str(deployment_path)))

    assert opened == [["quetz-bad"], ["quetz"], False]


def test_the_hooks_of_others_are_kept(deployment_path, site):
    site.install("quetz-good", {"hooks.py": UNSOUND["hooks.py"]})

    opened = site.run(OPENED.format(path=str(deployment_path)))

    assert opened == [["quetz-bad"], ["quetz", "quetz-good"], True]


def test_a_plugin_that_is_enabled_by_name_must_have_sound_migrations(
    deployment_path, site, monkeypatch
):
    monkeypatch.setenv("QUETZ_PLUGINS_ENABLED", "bad")

    with pytest.raises(Refused, match="PluginError: plugin 'quetz-bad': cannot read the migration"):
        site.run(OPENED.format(path=str(deployment_path)))


@pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
def test_a_full_disk_of_postgresql_is_told_in_any_language(deployment):
    with pytest.raises(StorageFull), deployment.transaction(write=True) as session:
        session.execute(
            text("DO $$ BEGIN RAISE EXCEPTION 'kein Platz' USING ERRCODE = 'disk_full'; END $$")
        )


@on_postgresql
def test_a_commit_is_on_disk_though_the_server_would_not_wait_for_that(deployment):
    settings = []

    def look(connection):
        settings.append(connection.exec_driver_sql("SHOW synchronous_commit").scalar())

    event.listen(deployment.engine, "commit", look)
    for chosen in ("off", "remote_apply"):
        with deployment.transaction(write=True) as session:
            session.execute(text(f"SET LOCAL synchronous_commit = {chosen}"))

    assert settings == ["on", "remote_apply"]


@on_sqlite
def test_a_database_that_is_gone_before_it_was_read_is_not_made_anew(deployment_path):
    with closing(Deployment.open(deployment_path)) as deployment:
        file = Path(str(deployment.engine.url.database))
        away = file.rename(file.with_name("away.sqlite"))

        with pytest.raises(DatabaseUnavailable), deployment.transaction() as session:
            session.execute(text("SELECT 1"))

        assert not file.exists()
        away.rename(file)
