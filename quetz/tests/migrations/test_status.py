"""What state a database is in, told without changing it; and plugins that are gone."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from quetz.migrations import upgrade
from quetz.migrations.locks import alone
from quetz.migrations.status import read_status
from quetz.tests.migrations.databases import add_revision, head_of, revisions_of, run_sql
from quetz.tests.migrations.distributions import Refused, Site

MODELS = """
    from sqlalchemy import ForeignKey
    from sqlalchemy.orm import Mapped, mapped_column
    from quetz.plugin_api import Base, RowId

    class Note(Base):
        __tablename__ = "quetz_notes"
        id: Mapped[int] = mapped_column(RowId, primary_key=True)
        channel_id: Mapped[int] = mapped_column(ForeignKey("channels.id", ondelete="CASCADE"))
"""
REVISION = '''
"""the notes"""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = {down!r}
branch_labels = {labels!r}
depends_on = {depends!r}


def upgrade():
    {code}


def downgrade():
    pass
'''
MAKE_TABLE = """op.create_table(
        "quetz_notes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "channel_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["channel_id"], ["channels.id"], ondelete="CASCADE",
            name=op.f("fk_quetz_notes_channel_id_channels"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quetz_notes")),
    )"""
PROGRAM = """
    from sqlalchemy.engine import make_url
    from quetz.db.engine import open_engine
    from quetz.migrations import upgrade
    from quetz.migrations.status import read_status

    engine, plugins = open_engine(make_url({url!r})), load_plugins({enabled!r})
    if {migrate}:
        upgrade(engine, plugins)
    status = read_status(engine, plugins).document()
    engine.dispose()
    return status
"""


@pytest.fixture
def site(tmp_path, plugins):
    """A plugin with one revision, which needs the core's head."""
    site = Site(tmp_path / "site")
    site.install("quetz-notes", {"db_models.py": MODELS})
    add_plugin_revision(site, "n1", depends=head_of(plugins), code=MAKE_TABLE)
    return site


def add_plugin_revision(
    site: Site, revision: str, *, down=None, depends=None, code: str = "pass"
) -> Path:
    labels = None if down else ("quetz-notes",)
    text = REVISION.format(
        revision=revision, down=down, labels=labels, depends=depends, code=code
    ).lstrip()
    file = site.folder / "quetz_notes/migrations/versions" / f"{revision}_x.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def uninstall(site: Site) -> None:
    shutil.rmtree(site.folder / "quetz_notes-1.0.dist-info")
    shutil.rmtree(site.folder / "quetz_notes")


@pytest.fixture
def look(site, empty_database_url):
    """Read the status in a new process, after an upgrade if it is told to ``migrate``."""
    url = empty_database_url.render_as_string(hide_password=False)

    def look(*, migrate: bool = False, enabled: tuple[str, ...] = ()) -> dict[str, Any]:
        return site.run(PROGRAM.format(url=url, migrate=migrate, enabled=enabled))

    return look


def owner_of(status: dict[str, Any], name: str) -> dict[str, Any]:
    return next(owner for owner in status["owners"] if owner["owner"] == name)


def test_an_empty_database_lacks_everything(empty_engine, plugins):
    empty_engine.connect().close()  # which makes the file

    status = read_status(empty_engine, plugins)

    assert status.state == "empty"
    assert status.owners[0].pending == tuple(revisions_of(plugins))
    assert status.pending == len(revisions_of(plugins))


def test_a_missing_file_is_missing_and_is_not_made(sqlite_engine, plugins, tmp_path):
    assert read_status(sqlite_engine, plugins).state == "missing"
    assert list(tmp_path.iterdir()) == []


def test_a_database_is_current_until_there_is_a_new_revision(empty_engine, copied):
    upgrade(empty_engine, copied)
    assert read_status(empty_engine, copied).state == "current"
    add_revision(copied, "aaaa")

    status = read_status(empty_engine, copied)

    assert status.state == "behind"
    assert status.owners[0].pending == ("aaaa",)
    assert status.last_run is not None


def test_an_older_release_finds_the_database_ahead(empty_engine, copied):
    add_revision(copied, "aaaa")
    upgrade(empty_engine, copied)
    Path(copied.migrations["quetz"], "aaaa_test.py").unlink()

    status = read_status(empty_engine, copied)

    assert status.state == "ahead"
    assert status.reason.endswith(
        f"aaaa (aaaa) was applied, and the installed {copied.versions['quetz']} lacks its file; "
        "put it back, or restore a backup"
    )


def test_a_revision_that_nobody_knows_makes_a_database_unknown(empty_engine, plugins):
    upgrade(empty_engine, plugins)
    run_sql(empty_engine, "INSERT INTO alembic_version VALUES ('strange')")

    status = read_status(empty_engine, plugins)

    assert status.state == "unknown"
    assert "revision 'strange'" in status.reason


def test_who_migrates_is_told(empty_engine, plugins):
    upgrade(empty_engine, plugins)

    with alone(empty_engine):
        status = read_status(empty_engine, plugins)

    assert status.holder.startswith("process ")


def test_a_status_is_json(empty_engine, plugins):
    upgrade(empty_engine, plugins)

    document = json.loads(json.dumps(read_status(empty_engine, plugins).document()))

    assert document["state"] == "current"
    assert "script_source" not in document["last_run"]


def test_the_core_goes_on_without_a_plugin_that_was_uninstalled(site, look):
    assert look(migrate=True)["state"] == "current"
    uninstall(site)

    status = look(migrate=True)

    assert status["state"] == "current"
    notes = owner_of(status, "quetz-notes")
    assert (notes["state"], notes["orphaned"]) == ("orphaned", ["n1"])
    assert owner_of(status, "quetz")["state"] == "current"


def test_the_core_is_upgraded_while_a_plugin_is_gone_and_the_plugin_goes_on_after(
    site, empty_engine, copied, look
):
    look(migrate=True)
    add_revision(copied, "aaaa")

    assert upgrade(empty_engine, copied).applied == ["aaaa"]

    status = read_status(empty_engine, copied)
    assert status.state == "current"
    assert [owner.state for owner in status.owners] == ["current", "orphaned"]


def test_a_plugin_that_comes_back_goes_on_where_it_was(site, look):
    look(migrate=True)
    shutil.move(site.folder / "quetz_notes-1.0.dist-info", site.folder / "gone")
    look(migrate=True)
    shutil.move(site.folder / "gone", site.folder / "quetz_notes-1.0.dist-info")
    add_plugin_revision(site, "n2", down="n1")
    assert owner_of(look(), "quetz-notes")["pending"] == ["n2"]

    status = look(migrate=True)

    assert owner_of(status, "quetz-notes")["applied"] == ["n1", "n2"]


def test_a_plugin_that_is_not_enabled_is_left_as_it_is(site, look):
    site.install("quetz-other", {})
    look(migrate=True)

    status = look(migrate=True, enabled=("quetz-other",))

    assert owner_of(status, "quetz-notes")["state"] == "orphaned"


def test_an_older_release_of_a_plugin_finds_the_database_ahead(site, look):
    newer = add_plugin_revision(site, "n2", down="n1")
    look(migrate=True)
    newer.unlink()

    assert look()["state"] == "ahead"
    with pytest.raises(Refused, match="SchemaAhead: the database is ahead of 'quetz-notes': n2"):
        look(migrate=True)


def test_a_newer_release_is_asked_for_only_if_it_is_not_the_one_installed(site, look):
    newer = add_plugin_revision(site, "n2", down="n1")
    look(migrate=True)
    newer.unlink()
    lacking = look()["reason"]
    metadata = site.folder / "quetz_notes-1.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 1.0", "Version: 0.9"))

    older = look()["reason"]

    assert "the installed 1.0 lacks its file; put it back" in lacking
    assert "n2 was applied by another version of it; install quetz-notes 1.0, or newer" in older


def test_a_plugin_whose_first_applied_file_is_gone_is_told_to_put_it_back(site, look):
    add_plugin_revision(site, "n2", down="n1")
    look(migrate=True)
    (site.folder / "quetz_notes/migrations/versions/n1_x.py").unlink()

    notes = owner_of(look(), "quetz-notes")

    assert notes["reason"] == (
        "the file of its revision n1 (the notes) is missing, which was applied; put it back"
    )


def test_a_plugin_whose_revision_cannot_be_read_is_broken_and_the_core_goes_on(site, look):
    add_plugin_revision(site, "n2", down="n1").write_text("def upgrade(:\n")

    status = look(migrate=True)

    assert owner_of(status, "quetz")["state"] == "current"
    notes = owner_of(status, "quetz-notes")
    assert notes["state"] == "broken"
    assert "cannot read the migration" in notes["reason"]
    assert "SyntaxError" in notes["reason"]


def test_a_plugin_that_breaks_later_keeps_what_was_applied(site, look):
    look(migrate=True)
    add_plugin_revision(site, "n2", down="n1").write_text("import quetz_nowhere\n")

    notes = owner_of(look(migrate=True), "quetz-notes")

    assert (notes["state"], notes["applied"]) == ("broken", ["n1"])
