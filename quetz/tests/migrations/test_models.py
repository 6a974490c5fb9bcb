"""The migrations make exactly what the models say, on both databases."""

from contextlib import contextmanager

from quetz.db.base import Base
from quetz.db.engine import open_engine
from quetz.migrations import downgrade, upgrade
from quetz.migrations.schemas.comparisons import compare, differences
from quetz.migrations.trees import load_tree
from quetz.tests.migrations.databases import (
    add_a_row_everywhere,
    all_rows,
    schema_of,
    tables_in,
)


def test_the_migrations_make_what_the_models_say(empty_engine, plugins):
    upgrade(empty_engine, plugins)

    with empty_engine.connect() as connection:
        assert compare(connection, plugins, "quetz").as_diffs() == []
        assert differences(connection, plugins) == set()


def test_created_and_migrated_tables_have_one_fingerprint(databases, plugins):
    with closing_engine(databases.empty()) as migrated:
        upgrade(migrated, plugins)
        by_migrations = schema_of(migrated)
    with closing_engine(databases.empty()) as created:
        Base.metadata.create_all(created)
        by_models = schema_of(created)

    assert by_models == by_migrations


@contextmanager
def closing_engine(url):
    engine = open_engine(url)
    yield engine
    engine.dispose()


def test_a_fingerprint_tells_what_names_are_ordered_by(empty_engine, plugins):
    upgrade(empty_engine, plugins)

    lines = schema_of(empty_engine)

    [name] = [line for line in lines if line.startswith("channels: column name ")]
    assert ('COLLATE "C"' in name) == (empty_engine.dialect.name == "postgresql")
    assert ("channels: autoincrement" in lines) == (empty_engine.dialect.name == "sqlite")


def test_every_table_can_hold_rows_after_up_down_and_up(empty_engine, plugins):
    everything = upgrade(empty_engine, plugins).applied
    add_a_row_everywhere(empty_engine)
    rows, schema = all_rows(empty_engine), schema_of(empty_engine)

    assert downgrade(empty_engine, plugins, "quetz@base").applied == everything[::-1]
    assert tables_in(empty_engine) == {"alembic_version", "quetz_migration_log"}
    assert upgrade(empty_engine, plugins).applied == everything
    add_a_row_everywhere(empty_engine)

    assert all(rows.values())
    assert all_rows(empty_engine) == rows
    assert schema_of(empty_engine) == schema


def test_the_core_has_one_root_with_its_label_and_one_head(plugins):
    tree = load_tree(plugins)

    assert len(tree.get_bases()) == len(tree.get_heads()) == 1
    assert tree.get_revision(tree.get_bases()[0]).branch_labels == {"quetz"}
