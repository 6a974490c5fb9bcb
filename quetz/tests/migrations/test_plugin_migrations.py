"""Revisions of plugins: their own root, their own tables, and the order between owners."""

import json
import re
from pathlib import Path

import pytest

from quetz.plugins import load_plugins
from quetz.tests.migrations.databases import head_of
from quetz.tests.migrations.distributions import Refused, Site

START = """
    from sqlalchemy import ForeignKey, String, TypeDecorator
    from sqlalchemy.orm import Mapped, mapped_column
    from quetz.plugin_api import Base, ByteOrdered, RowId
"""

NOTES = (
    START
    + """
    class Note(Base):
        __tablename__ = "quetz_notes"
        id: Mapped[int] = mapped_column(RowId, primary_key=True)
        name: Mapped[str] = mapped_column(ByteOrdered, unique=True)
        {column}
"""
)

MAKE = """
    from quetz.migrations import make_migration
    return make_migration(
        load_plugins([]), message={message!r}, owner={owner!r}, initialize={initialize!r}
    )
"""

UPGRADE = """
    from sqlalchemy import inspect
    from sqlalchemy.engine import make_url
    from quetz.db.engine import open_engine
    from quetz.migrations import check_schema, downgrade, upgrade

    engine, plugins = open_engine(make_url({url!r})), load_plugins([])
    upgrade(engine, plugins)
    check_schema(engine, plugins, "x")
    {then}
    tables = inspect(engine).get_table_names()
    engine.dispose()
    return tables
"""


LEFT_OUT = """
    from quetz.migrations.trees import load_tree
    broken = load_tree(load_plugins([])).broken
    return {owner: error.reason for owner, error in broken.items()}
"""


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path / "site")


def install_notes(site: Site, column: str = "") -> None:
    site.install("quetz-notes", {"db_models.py": NOTES.format(column=column)})


def make(
    site: Site,
    message: str = "initial revision",
    owner: str = "quetz-notes",
    *,
    initialize: bool = False,
) -> Path:
    return Path(site.run(MAKE.format(message=message, owner=owner, initialize=initialize)))


def variable(file: Path, name: str) -> str:
    [value] = re.findall(rf"^{name}: .* = (.*)$", file.read_text(), re.MULTILINE)
    return value


def tables_named(file: Path) -> set[str]:
    return set(re.findall(r'(?:create_table|alter_table)\(\s*"(\w+)"', file.read_text()))


def test_the_first_revision_is_a_root_on_the_head_of_the_core(site):
    install_notes(site)

    file = make(site, initialize=True)

    assert file.parent == site.folder / "quetz_notes/migrations/versions"
    assert re.fullmatch(r"[0-9a-f]{12}_initial_revision\.py", file.name)
    assert variable(file, "down_revision") == "None"
    assert variable(file, "branch_labels") == '("quetz-notes",)'
    assert variable(file, "depends_on") == f'"{head_of(load_plugins([]))}"'
    assert tables_named(file) == {"quetz_notes"}
    assert "quetz." not in file.read_text()


def test_the_second_revision_follows_the_first_and_has_the_change_only(site):
    install_notes(site)
    first = make(site, initialize=True)
    install_notes(site, "text: Mapped[str | None] = mapped_column(String(100))")

    second = make(site, "second revision")

    assert variable(second, "down_revision") == f'"{first.name[:12]}"'
    assert variable(second, "branch_labels") == "None"
    assert variable(second, "depends_on") == "None"
    assert tables_named(second) == {"quetz_notes"}
    assert second.read_text().count("add_column") == 1
    assert site.run(MAKE.format(message="x", owner="quetz-notes", initialize=False)) is None


def test_an_upgrade_applies_core_and_plugin_and_the_plugin_can_go_again(site, empty_database_url):
    url = empty_database_url.render_as_string(hide_password=False)
    install_notes(site)
    make(site, initialize=True)

    assert {"quetz_notes", "channels"} <= set(site.run(UPGRADE.format(url=url, then="")))
    then = "downgrade(engine, plugins, 'quetz-notes@base')"
    left = set(site.run(UPGRADE.format(url=url, then=then)))
    assert "channels" in left
    assert "quetz_notes" not in left
    assert "quetz_notes" in set(site.run(UPGRADE.format(url=url, then="")))


def test_a_new_revision_of_a_plugin_leaves_the_schema_behind(site, empty_database_url):
    url = empty_database_url.render_as_string(hide_password=False)
    install_notes(site)
    first = make(site, initialize=True).name[:12]
    install_notes(site, "text: Mapped[str | None]")
    make(site, "second revision")

    then = f"downgrade(engine, plugins, {first!r}); check_schema(engine, plugins, 'x')"

    with pytest.raises(Refused, match="SchemaBehind"):
        site.run(UPGRADE.format(url=url, then=then))


def test_the_core_sees_no_table_of_a_plugin(site):
    install_notes(site)
    core = MAKE.format(message="x", owner="quetz", initialize=False)

    assert site.run(core) is None
    make(site, initialize=True)
    assert site.run(core) is None


def test_a_table_taken_out_of_a_plugin_is_dropped_by_the_plugin_alone(site):
    install_notes(site)
    make(site, initialize=True)
    site.install("quetz-notes", {"db_models.py": ""})

    assert site.run(MAKE.format(message="x", owner="quetz", initialize=False)) is None
    assert 'op.drop_table("quetz_notes")' in make(site, "second").read_text()


def test_a_foreign_key_to_another_plugin_orders_the_two(site, empty_database_url):
    url = empty_database_url.render_as_string(hide_password=False)
    install_notes(site)
    first = make(site, initialize=True)
    links = """
    class Link(Base):
        __tablename__ = "quetz_links"
        id: Mapped[int] = mapped_column(RowId, primary_key=True)
        note_id: Mapped[int] = mapped_column(ForeignKey("quetz_notes.id"))
        channel_id: Mapped[int] = mapped_column(ForeignKey("channels.id", ondelete="CASCADE"))
    """
    site.install("quetz-links", {"db_models.py": START + links})

    file = make(site, owner="quetz-links", initialize=True)

    needed = sorted([str(head_of(load_plugins([]))), first.name[:12]])
    assert json.loads(variable(file, "depends_on")) == needed
    assert tables_named(file) == {"quetz_links"}
    assert {"quetz_links", "quetz_notes"} <= set(site.run(UPGRADE.format(url=url, then="")))


def test_a_later_foreign_key_orders_the_revision_that_adds_it(site):
    install_notes(site)
    make(site, initialize=True)
    site.install("quetz-late", {"db_models.py": NOTES.replace("_notes", "_late").format(column="")})
    late = make(site, owner="quetz-late", initialize=True)
    install_notes(site, 'late_id: Mapped[int | None] = mapped_column(ForeignKey("quetz_late.id"))')

    second = make(site, "second")

    assert variable(second, "depends_on") == f'"{late.name[:12]}"'


def test_a_type_of_a_plugin_is_written_as_the_plain_type_below_it(site):
    models = """
    class Upper(TypeDecorator):
        impl = String(20)
        cache_ok = True

    class Shout(Base):
        __tablename__ = "quetz_shouts"
        id: Mapped[int] = mapped_column(RowId, primary_key=True)
        text: Mapped[str] = mapped_column(Upper())
    """
    site.install("quetz-shouts", {"db_models.py": START + models})

    file = make(site, owner="quetz-shouts", initialize=True)

    assert 'sa.Column("text", sa.String(length=20), nullable=False)' in file.read_text()


def test_without_a_first_revision_initialize_is_asked_for(site):
    install_notes(site)

    with pytest.raises(Refused, match="'quetz-notes': has no migration yet; add --initialize"):
        make(site)


def test_a_plugin_is_initialised_once(site):
    install_notes(site)
    first = make(site, initialize=True)

    with pytest.raises(Refused, match=f"already at {first.name[:12]}; leave out --initialize"):
        make(site, initialize=True)

    assert list(first.parent.glob("*.py")) == [first]


def test_an_unknown_plugin_is_refused_with_the_names_there_are(site):
    install_notes(site)

    with pytest.raises(Refused, match=r"'nope': is not installed.*known: quetz, quetz-notes"):
        make(site, owner="nope")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param("1 / 0\n", "ZeroDivisionError: division by zero", id="an-error"),
        pytest.param(
            "import quetz_nowhere\n",
            "ModuleNotFoundError: No module named 'quetz_nowhere'",
            id="an-import",
        ),
        pytest.param("import sys; sys.exit('bye')\n", "SystemExit: bye", id="an-exit"),
    ],
)
def test_a_plugin_whose_revision_cannot_be_read_is_left_out_and_named(
    site, empty_database_url, content, reason
):
    url = empty_database_url.render_as_string(hide_password=False)
    install_notes(site)
    file = make(site, initialize=True)
    file.write_text(content)

    tables, left_out = site.run(UPGRADE.format(url=url, then="")), site.run(LEFT_OUT)

    assert left_out == {"quetz-notes": f"cannot read the migration '{file}': {reason}"}
    assert "channels" in tables
    assert "quetz_notes" not in tables


COMMAND = """
    from pathlib import Path
    from quetz.db.engine import open_engine
    from quetz.migrations import make_migration, upgrade
    from sqlalchemy.engine import make_url

    engine, plugins, warnings = open_engine(make_url({url!r})), load_plugins([]), []
    {first}
    try:
        file = make_migration(plugins, message="x", like=engine, warn=warnings.append, {options})
    finally:
        engine.dispose()
    return [file, *warnings]
"""


def test_who_forgets_to_name_the_plugin_is_told_which_one_changed(site, empty_database_url):
    url = empty_database_url.render_as_string(hide_password=False)
    install_notes(site)
    make(site, initialize=True)
    install_notes(site, "text: Mapped[str | None]")
    site.install("quetz-more", {"db_models.py": NOTES.format(column="").replace("notes", "more")})
    make(site, owner="quetz-more", initialize=True)

    for options in ("", "check=True"):
        found = site.run(COMMAND.format(url=url, first="", options=options))
        assert found == [None, "the models of quetz-notes changed: add --plugin quetz-notes"]


def test_a_check_of_an_installed_copy_says_that_it_is_one(tmp_path):
    site = Site(tmp_path / "site-packages")
    install_notes(site)
    options = "owner='quetz-notes', initialize=True"
    elsewhere = f"output=Path({str(site.folder / 'quetz_notes/migrations/versions')!r}), {options}"
    site.run(COMMAND.format(url="sqlite://", first="", options=elsewhere))

    options = "owner='quetz-notes', check=True"
    nothing, warning = site.run(COMMAND.format(url="sqlite://", first="", options=options))

    assert nothing is None
    assert warning == (
        f"quetz-notes was compared as it is installed in '{site.folder}/quetz_notes/migrations/"
        "versions', not your working copy; install that with: pip install -e"
    )


def test_a_new_table_has_a_name_of_the_plugins_own(site):
    models = NOTES.format(column="").replace('"quetz_notes"', '"quetz_notebook"')
    site.install("quetz-notes", {"db_models.py": models})

    sentence = "its table 'quetz_notebook' must be called quetz_notes or quetz_notes_..."
    with pytest.raises(Refused, match=f"PluginError: .*{sentence}"):
        make(site, initialize=True)


def test_a_table_of_old_with_another_name_is_told(site):
    install_notes(site)
    file = make(site, initialize=True)
    file.write_text(file.read_text().replace("quetz_notes", "quetz_old"))
    models = NOTES.format(column="text: Mapped[str | None]").replace("quetz_notes", "quetz_old")
    site.install("quetz-notes", {"db_models.py": models})

    options = "owner='quetz-notes'"
    written, warning = site.run(COMMAND.format(url="sqlite://", first="", options=options))

    assert tables_named(Path(written)) == {"quetz_old"}
    assert warning.startswith("its table 'quetz_old' must be called quetz_notes")


@pytest.mark.parametrize("is_first", [True, False])
def test_no_rival_is_written_to_an_applied_migration_whose_file_is_gone(
    site, empty_database_url, is_first
):
    url = empty_database_url.render_as_string(hide_password=False)
    install_notes(site)
    file = make(site, initialize=True)
    if not is_first:
        install_notes(site, "text: Mapped[str | None]")
        file = make(site, "second revision")
    gone = f"upgrade(engine, plugins); Path({str(file)!r}).unlink()"
    options = f"owner='quetz-notes', initialize={is_first}"

    sentence = (
        rf"MigrationUnsound: .* has its migration {file.name[:12]} \('.* revision'\), of which "
        rf"there is no file in '{file.parent}'; put {file.name[:12]}_\*.py back there"
    )
    with pytest.raises(Refused, match=sentence):
        site.run(COMMAND.format(url=url, first=gone, options=options))

    assert file not in file.parent.iterdir()
    assert len(list(file.parent.glob("*.py"))) == (0 if is_first else 1)
