"""A plugin that is broken is left out with its reason, and the others go on."""

import json
from typing import Any

import pytest

from quetz.errors import PluginError
from quetz.plugins import check_usable, load_plugins
from quetz.tests.migrations.distributions import Site

MODEL = """
    import sqlalchemy as sa
    from sqlalchemy import ForeignKey
    from sqlalchemy.orm import Mapped, mapped_column, relationship
    from quetz.plugin_api import Base, Channel, RowId

    class {name}(Base):
        __tablename__ = "{table}"
        id: Mapped[int] = mapped_column(RowId, primary_key=True)
        {more}
"""

LOADED = """
    import sys
    from sqlalchemy.orm import configure_mappers
    from quetz.db.base import Base
    from quetz.plugins import check_usable, find_plugins

    plugins = load_plugins({enabled!r})
    configure_mappers()
    return {{
        "sound": sorted(plugins.packages.values()),
        "broken": {{name: error.reason for name, error in plugins.broken.items()}},
        "tables": sorted(name for name in Base.metadata.tables if name.startswith("q")),
        "modules": sorted(name for name in sys.modules if name.startswith("quetz_")),
        "migrations": sorted(plugins.migrations),
        "versions": plugins.versions,
        "hooks": [one.plugin_name for one in plugins.implementations("check_upload")],
    }}
"""

HOOKED = """
    from quetz.plugin_api import hookimpl

    @hookimpl
    def check_upload(channel): pass
"""

SOUND_MODULES = ["quetz_sound", "quetz_sound.db_models", "quetz_sound.hooks"]


@pytest.fixture
def site(tmp_path):
    """A sound plugin ``quetz-sound``."""
    site = Site(tmp_path)
    site.install(
        "quetz-sound",
        {
            "db_models.py": MODEL.format(name="Sound", table="quetz_sound", more=""),
            "hooks.py": HOOKED,
        },
    )
    return site


TWICE = """
    class Other(Base):
        __tablename__ = "quetz_foo"
        id: Mapped[int] = mapped_column(RowId, primary_key=True)
"""


def model(table: str = "quetz_foo", more: str = "") -> str:
    return MODEL.format(name="Foo", table=table, more=more)


def loaded(site: Site, enabled: tuple[str, ...] = ()) -> dict[str, Any]:
    return site.run(LOADED.format(enabled=enabled))


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        pytest.param(
            {"db_models.py": model() + "    import nowhere\n"},
            "cannot import quetz_foo.db_models: ModuleNotFoundError: No module named 'nowhere'",
            id="an-import-of-models",
        ),
        pytest.param(
            {"db_models.py": model(), "hooks.py": "raise SystemExit('bye')"},
            "cannot import quetz_foo.hooks: SystemExit: bye",
            id="an-exit-of-hooks",
        ),
        pytest.param(
            {"db_models.py": model(), "hooks.py": HOOKED.replace("check_upload", "check_uplaod")},
            "unknown hook 'check_uplaod'",
            id="a-misspelt-hook",
        ),
        pytest.param(
            {"db_models.py": model("channels")},
            "its table 'channels' has the name of one of quetz; give it another",
            id="a-table-of-the-core",
        ),
        pytest.param(
            {"db_models.py": model("alembic_version")},
            "its table 'alembic_version' has a reserved name; call it quetz_foo",
            id="a-reserved-table",
        ),
        pytest.param(
            {"db_models.py": model("quetz_migration_log")},
            "its table 'quetz_migration_log' has a reserved name",
            id="the-ledger",
        ),
        pytest.param(
            {"db_models.py": model("_alembic_tmp_foo")},
            "its table '_alembic_tmp_foo' has a reserved name",
            id="a-scratch-table-of-alembic",
        ),
        pytest.param(
            {"db_models.py": model("workflow_status")},
            "its table 'workflow_status' has a reserved name",
            id="a-table-of-the-job-engine",
        ),
        pytest.param(
            {"db_models.py": model(more="bars: Mapped[list['Bar']] = relationship()")},
            "its models do not fit together: ",
            id="a-relationship-to-nowhere",
        ),
        pytest.param(
            {"db_models.py": "from quetz.dao import Dao"},
            "was written for the older quetz: it imports quetz.dao, which is gone; "
            "import from quetz.plugin_api instead",
            id="a-plugin-of-the-older-quetz",
        ),
        pytest.param(
            {"hooks.py": "import quetz\n@quetz.hookimpl\ndef register_router(): ..."},
            "was written for the older quetz: it imports quetz.hookimpl, which is gone",
            id="a-mark-of-the-older-quetz",
        ),
        pytest.param(
            {"db_models.py": "from quetz.db_models import PackageVersion"},
            "was written for the older quetz: it imports quetz.db_models.PackageVersion, which",
            id="a-model-of-the-older-quetz",
        ),
        pytest.param(
            {"db_models.py": "from quetz.plugin_api import Bass"},
            "cannot import name 'Bass' from 'quetz.plugin_api'",
            id="a-misspelt-name-of-the-api",
        ),
        pytest.param(
            {"db_models.py": model("Channels")},
            "its table 'Channels' has the name of one of quetz; give it another",
            id="a-table-of-the-core-in-other-case",
        ),
        pytest.param(
            {"db_models.py": model(more="__table_args__ = {'extend_existing': True}") + TWICE},
            "declares the table 'quetz_foo' twice; give one of the two another name",
            id="a-table-of-its-own-twice",
        ),
        pytest.param(
            {"hooks.py": "def check_upload(channel): pass"},
            "'check_upload' in quetz_foo.hooks is named like a hook; mark it with @hookimpl",
            id="a-hook-without-its-mark",
        ),
    ],
)
def test_a_broken_plugin_leaves_no_trace_and_the_others_stay(site, files, reason):
    site.install("quetz-foo", files)

    found = loaded(site)

    assert found["sound"] == ["quetz-sound"]
    assert set(found["broken"]) == {"quetz-foo"}
    assert reason in found["broken"]["quetz-foo"]
    assert found["tables"] == ["quetz_sound"]
    assert not [name for name in found["modules"] if name.startswith("quetz_foo")]
    assert found["migrations"] == ["quetz", "quetz-sound"]
    assert found["versions"]["quetz-foo"] == "1.0"
    assert found["hooks"] == ["quetz-sound"]


def test_a_table_of_another_plugin_is_named_with_its_owner(site):
    site.install("quetz-zoo", {"db_models.py": model("quetz_sound")})

    reason = loaded(site)["broken"]["quetz-zoo"]

    assert reason == "its table 'quetz_sound' has the name of one of quetz-sound; give it another"


@pytest.mark.parametrize("name", ["quetz-a", "quetz-zoo"])
def test_who_imports_a_broken_plugin_is_broken_too_with_its_own_sentence(site, name):
    site.install("quetz-foo", {"db_models.py": "1 / 0"})
    site.install(name, {"db_models.py": "import quetz_foo.db_models"})

    found = loaded(site)

    assert found["sound"] == ["quetz-sound"]
    assert "cannot import quetz_foo.db_models: Zero" in found["broken"]["quetz-foo"]
    assert found["broken"][name].startswith("needs the plugin 'quetz-foo', which ")


@pytest.mark.parametrize("name", ["quetz-a", "quetz-zoo"])
@pytest.mark.parametrize("line", ["from quetz_foo.db_models import Foo", "import quetz_foo.hooks"])
def test_who_imported_what_turns_out_to_be_broken_later_is_broken_too(site, name, line):
    site.install("quetz-foo", {"db_models.py": model(more="bars: Mapped['Bar'] = relationship()")})
    site.install(name, {"hooks.py": line})

    found = loaded(site)

    assert found["sound"] == ["quetz-sound"]
    assert found["broken"][name] == (
        "needs the plugin 'quetz-foo', which is broken; mend that one first"
    )
    assert found["modules"] == SOUND_MODULES


def test_who_can_do_without_a_broken_plugin_goes_on(site):
    optional = "try:\n    import quetz_foo\nexcept ImportError:\n    pass"
    site.install("quetz-foo", {"db_models.py": model(), "hooks.py": "1 / 0"})
    site.install("quetz-zoo", {"hooks.py": optional})

    found = loaded(site)

    assert found["sound"] == ["quetz-sound", "quetz-zoo"]
    assert found["tables"] == ["quetz_sound"]


@pytest.mark.parametrize("name", ["quetz-a", "quetz-zoo"])
def test_who_refers_to_a_table_of_a_broken_plugin_is_broken_too(site, name):
    reference = "foo_id: Mapped[int] = mapped_column(ForeignKey('quetz_foo.id'))"
    site.install("quetz-foo", {"db_models.py": model(), "hooks.py": "1 / 0"})
    site.install(name, {"db_models.py": MODEL.format(name="A", table="quetz_a", more=reference)})

    found = loaded(site)

    assert found["sound"] == ["quetz-sound"]
    assert found["broken"][name] == (
        "its table 'quetz_a' refers to quetz_foo.id, which is not there; "
        "install or mend the plugin that has it"
    )
    assert found["tables"] == ["quetz_sound"]


def test_a_sound_plugin_that_a_broken_one_imported_first_stays(site):
    site.install("quetz-a", {"db_models.py": "import quetz_sound.db_models; 1 / 0"})

    found = loaded(site)

    assert found["sound"] == ["quetz-sound"]
    assert found["tables"] == ["quetz_sound"]


def test_classes_that_were_imported_before_stay_when_another_plugin_is_broken(site):
    site.install("quetz-a", {"db_models.py": "1 / 0"})

    same = site.run("""
        from quetz_sound.db_models import Sound
        load_plugins([])
        from quetz_sound import db_models
        return db_models.Sound is Sound and Sound(id=3).id == 3
    """)

    assert same


def test_two_plugins_do_not_share_a_package(site):
    site.install(
        "quetz-zoo", {}, {"quetz": "quetz_sound.hooks", "quetz.models": "quetz_sound.db_models"}
    )

    found = loaded(site)

    assert found["sound"] == ["quetz-sound"]
    assert found["broken"]["quetz-zoo"].startswith(
        "shares the package quetz_sound with 'quetz-sound'"
    )


def test_a_plugin_may_be_a_single_module(site):
    site.install("quetz-foo", {"../quetz_one.py": HOOKED}, {"quetz": "quetz_one"})

    found = loaded(site)

    assert found["sound"] == ["quetz-foo", "quetz-sound"]
    assert found["hooks"] == ["quetz-sound", "quetz-foo"]


def test_a_table_without_a_class_belongs_to_the_plugin_whose_code_makes_it(site):
    table = "sa.Table('quetz_sums', Base.metadata, sa.Column('id', sa.Integer))"
    site.install("quetz-foo", {"db_models.py": f"{model()}\n    {table}"})
    site.install("quetz-a", {"db_models.py": "import quetz_foo.db_models"})

    assert site.run("return load_plugins([]).owner_of_table('quetz_sums')") == "quetz-foo"


def test_a_package_that_is_gone_is_told(site):
    site.install("quetz-foo", {})
    for file in (site.folder / "quetz_foo").iterdir():
        file.unlink()
    (site.folder / "quetz_foo").rmdir()

    reason = loaded(site)["broken"]["quetz-foo"]

    assert "No module named 'quetz_foo'; install the plugin again, or uninstall it" in reason


def test_finding_plugins_imports_none_and_tells_where_their_migrations_are(site):
    site.install(
        "quetz-foo",
        {"tables/__init__.py": "1 / 0", "__init__.py": "1 / 0"},
        {"quetz.migrations": "quetz_foo.tables"},
    )

    found = site.run(
        """
    import sys
    from quetz.plugins import find_plugins

    plugins = find_plugins([])
    modules = [name for name in sys.modules if name.startswith("quetz_")]
    folders = {name: str(path) for name, path in plugins.migrations.items()}
    return {"modules": modules, "folders": folders, "versions": plugins.versions}
    """
    )

    assert found["modules"] == []
    assert found["folders"]["quetz-foo"] == str(site.folder / "quetz_foo/tables/versions")
    sound = site.folder / "quetz_sound/migrations/versions"
    assert found["folders"]["quetz-sound"] == str(sound)
    assert found["versions"]["quetz-sound"] == "1.0"


def test_a_plugin_that_is_enabled_by_name_has_to_be_sound():
    plugins = load_plugins(["quetz-nowhere"])

    with pytest.raises(PluginError, match="'quetz-nowhere': is enabled but not installed"):
        check_usable(plugins, ["nowhere"])


def test_a_plugin_that_is_not_named_is_left_out_with_a_line_in_the_log(caplog):
    plugins = load_plugins(["quetz-nowhere"])

    check_usable(plugins, [])

    assert "is enabled but not installed" in json.dumps(caplog.messages)
