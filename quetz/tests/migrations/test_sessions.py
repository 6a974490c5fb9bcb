"""Sessions of PostgreSQL: one schema of several, and no timeout that ends them."""

import os

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.engine import URL

from quetz.db.engine import open_engine
from quetz.errors.migrations import NoSchema, SchemaBehind
from quetz.migrations import check_schema, upgrade
from quetz.migrations.backups import Backups
from quetz.migrations.checks import Report, check_database
from quetz.migrations.locks import alone
from quetz.migrations.status import read_status
from quetz.testing.postgresql import client_programs
from quetz.tests.migrations.databases import (
    add_a_row_everywhere,
    all_rows,
    head_of,
    heads_in,
    revisions_of,
    run_sql,
    tables_in,
)

pytestmark = pytest.mark.parametrize("databases", ["postgresql"], indirect=True)

TIMEOUTS = {
    "statement_timeout",
    "transaction_timeout",
    "idle_session_timeout",
    "idle_in_transaction_session_timeout",
}


@pytest.fixture
def opened(empty_database_url):
    """Opens engines on the database with settings, as a role may have them."""
    engines = []

    def engine_with(**settings: str) -> Engine:
        engines.append(open_engine(with_settings(empty_database_url, settings)))
        return engines[-1]

    yield engine_with
    for engine in engines:
        engine.dispose()


def with_settings(url: URL, settings: dict[str, str]) -> URL:
    options = " ".join(f"-c{name}={value}" for name, value in settings.items())
    return url.update_query_dict({"options": options})


def test_of_two_schemas_on_the_path_the_first_is_migrated_and_the_other_untouched(opened, plugins):
    second = opened(search_path="b")
    run_sql(opened(), "CREATE SCHEMA a", "CREATE SCHEMA b")
    upgrade(second, plugins)
    add_a_row_everywhere(second)
    rows = all_rows(second)
    both = opened(search_path="a,b")

    with pytest.raises(SchemaBehind):
        check_schema(both, plugins, "x")
    assert read_status(both, plugins).state == "empty"
    assert upgrade(both, plugins).applied == revisions_of(plugins)

    check_schema(both, plugins, "x")
    assert {name: [] for name in rows} == all_rows(both)
    assert tables_in(opened(search_path="a")) == tables_in(second)
    assert all_rows(second) == rows
    with opened(search_path="a").connect() as connection:
        made = connection.scalars(
            text("SELECT tables_created FROM quetz_migration_log ORDER BY id")
        )
        assert "channels" in made.first()


def test_a_schema_whose_name_needs_quotes_is_migrated(opened, plugins):
    quoted = opened(search_path='"quetz-prod"')
    run_sql(opened(), 'CREATE SCHEMA "quetz-prod"')

    assert upgrade(quoted, plugins).applied == revisions_of(plugins)

    assert check_database(quoted, plugins) == Report()


def test_the_record_of_another_program_in_a_further_schema_is_not_taken_for_ours(opened, plugins):
    run_sql(
        opened(),
        "CREATE SCHEMA a",
        "CREATE TABLE public.alembic_version (version_num varchar(32))",
        "INSERT INTO public.alembic_version VALUES ('strange')",
    )
    engine = opened(search_path="a,public")

    upgrade(engine, plugins)

    assert heads_in(engine) == {head_of(plugins)}
    assert heads_in(opened()) == {"strange"}


def test_a_search_path_without_a_schema_is_told_in_a_sentence(opened, plugins):
    engine = opened(search_path="nowhere")

    for refused in (upgrade, read_status):
        with pytest.raises(NoSchema, match="search_path"):
            refused(engine, plugins)


def test_no_timeout_of_the_role_ends_who_holds_the_lock(opened):
    with alone(opened(**dict.fromkeys(TIMEOUTS, "10s"))) as connection:
        settings = timeouts_of(connection.connection.driver_connection)

    assert settings == dict.fromkeys(TIMEOUTS, "0")


def test_no_timeout_of_the_role_ends_a_backup(opened, plugins, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(client_programs()), prepend=os.pathsep)
    engine = opened(**dict.fromkeys(TIMEOUTS, "10s"))
    upgrade(engine, plugins)
    seen = []

    def look(connection, _cursor, sql, *_context) -> None:
        if "pg_export_snapshot" in sql:
            seen.append(timeouts_of(connection.connection.driver_connection))

    event.listen(engine, "after_cursor_execute", look)
    Backups(tmp_path).take(engine)

    assert seen == [dict.fromkeys(TIMEOUTS, "0")]


def timeouts_of(driver) -> dict[str, str]:
    return {name: driver.execute(f"SHOW {name}").fetchone()[0] for name in TIMEOUTS}
