"""Foreign keys of plugins, of which none may keep quetz from deleting its own rows."""

from dataclasses import replace

import pytest
from sqlalchemy import Column, ForeignKey, Integer, Table

from quetz.db.base import Base, RowId
from quetz.errors import PluginError
from quetz.migrations.authoring.reference_rules import check_references
from quetz.plugins.tables import forget, imports_of


@pytest.fixture
def check(plugins):
    """Declare two tables of a plugin with a column each, and check them."""
    plugins = replace(plugins, packages={"quetz_notes": "quetz-notes"})

    def check(*, note=(), star=()):
        with imports_of("quetz_notes", []):
            for name, column in (("quetz_notes", note), ("quetz_notes_stars", star)):
                key = Column("id", RowId, primary_key=True)
                Table(name, Base.metadata, key, *column)
        check_references(plugins, "quetz-notes")

    yield check
    forget(["quetz_notes"])


def to(target, ondelete=None, *, nullable=False):
    return [Column("to_id", Integer, ForeignKey(target, ondelete=ondelete), nullable=nullable)]


@pytest.mark.parametrize(
    ("target", "ondelete"),
    [
        pytest.param("users.id", None, id="binds-users"),
        pytest.param("users.id", "RESTRICT", id="keeps-users-from-going"),
        pytest.param("users.username", "CASCADE", id="no-key"),
    ],
)
def test_a_foreign_key_that_would_bind_the_core_is_refused(check, target, ondelete):
    with pytest.raises(PluginError, match=rf"from quetz_notes\.to_id to {target} must refer to"):
        check(note=to(target, ondelete))


@pytest.mark.parametrize("ondelete", [None, "RESTRICT", "NO ACTION"])
def test_a_foreign_key_to_what_goes_with_a_row_of_the_core_has_to_let_it_go(check, ondelete):
    sentence = (
        r"from quetz_notes_stars\.to_id to quetz_notes\.id would keep quetz from deleting .*; "
        'say ondelete="CASCADE" or "SET NULL"'
    )

    with pytest.raises(PluginError, match=sentence):
        check(note=to("users.id", "CASCADE"), star=to("quetz_notes.id", ondelete))


@pytest.mark.parametrize("target", ["users.id", "quetz_notes.id"])
def test_a_foreign_key_that_sets_null_what_must_not_be_null_is_refused(check, target):
    sentence = rf"to {target} would set null .*, or let quetz_notes_stars\.to_id be null"

    with pytest.raises(PluginError, match=sentence):
        check(note=to("users.id", "CASCADE"), star=to(target, "SET NULL"))


@pytest.mark.parametrize(
    ("note", "star"),
    [
        pytest.param([], to("quetz_notes.id"), id="no-way-to-the-core"),
        pytest.param(
            to("users.id", "SET NULL", nullable=True), to("quetz_notes.id"), id="rows-that-stay"
        ),
        pytest.param(to("users.id", "CASCADE"), to("quetz_notes.id", "cascade"), id="cascade"),
        pytest.param(
            to("users.id", "CASCADE"), to("quetz_notes.id", "SET NULL", nullable=True), id="null"
        ),
    ],
)
def test_a_foreign_key_that_holds_up_nothing_is_taken(check, note, star):
    check(note=note, star=star)

    assert {"quetz_notes", "quetz_notes_stars"} <= Base.metadata.tables.keys()
