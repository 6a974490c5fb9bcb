"""Finding and loading plugins: real distributions, each test in a process of its own."""

import re
from pathlib import Path

import pytest

from quetz import plugin_api
from quetz.plugins import load_plugins
from quetz.tests.migrations.distributions import Refused, Site

MODELS = """
    from sqlalchemy.orm import Mapped, mapped_column
    from quetz.plugin_api import Base

    class Note(Base):
        __tablename__ = "{table}"
        id: Mapped[int] = mapped_column(primary_key=True)
"""

HOOKS = """
    from quetz.plugin_api import Invalid, hookimpl

    @hookimpl
    def check_upload(archive):
        if archive == "bad":
            raise Invalid("{package} refuses")
"""

MARK = "from quetz.hooks import hookimpl\n@hookimpl\n"
WRAPPER = "from quetz.hooks import hookimpl\n@hookimpl(wrapper=True)\n"

ROUTERS = """
    import sys
    from fastapi import APIRouter
    from quetz.plugin_api import GuardedRouter, Operation, declares, hookimpl

    plain, guarded, sound = APIRouter(), GuardedRouter(tags=["foo"]), GuardedRouter(tags=["foo"])
    plain.add_api_route("/plain", lambda: None)
    guarded.add_api_route("/nowhere", lambda: None, **declares(Operation.PACKAGE_READ))
    sound.add_api_route("/foo/{{channel}}", lambda: None, **declares(Operation.PACKAGE_READ))

    @hookimpl
    def routers():
        {body}
"""


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def test_without_plugins_no_hook_is_implemented():
    plugins = load_plugins([])

    assert list(plugins.migrations) == ["quetz"]
    assert plugins.owner_of_table("channels") == "quetz"
    assert not plugins.implements("check_upload")
    assert plugins.hook.routers() == []


def test_a_plugin_is_found_that_was_installed_meanwhile(site):
    body = f"""
        from pathlib import Path
        from quetz.tests.migrations.distributions import Site

        before = list(load_plugins([]).packages)
        Site(Path({str(site.folder)!r})).install("quetz-foo", {{}})
        return before, list(load_plugins([]).packages)
    """

    assert site.run(body) == [[], ["quetz_foo"]]


def test_a_plugin_is_called_with_the_arguments_that_it_names(site):
    site.install("quetz-foo", {"hooks.py": HOOKS.format(package="foo")})

    body = """
        plugins = load_plugins([])
        assert plugins.implements("check_upload") and not plugins.implements("routers")
        plugins.hook.check_upload(channel="c", archive="good")
        plugins.hook.check_upload(channel="c", archive="bad")
    """

    with pytest.raises(Refused, match="Invalid: foo refuses"):
        site.run(body)


def test_an_empty_list_enables_all_and_a_list_only_those_named_in_any_spelling(site):
    site.install("quetz-foo", {})
    site.install("quetz-bar_baz", {})
    body = "return sorted(load_plugins({}).migrations)"

    assert site.run(body.format([])) == ["quetz", "quetz-bar_baz", "quetz-foo"]
    assert site.run(body.format(["quetz-foo"])) == ["quetz", "quetz-foo"]
    assert site.run(body.format(["Bar-Baz"])) == ["quetz", "quetz-bar_baz"]


def test_a_plugin_that_is_not_enabled_is_not_imported(site):
    site.install("quetz-foo", {})
    site.install("quetz-bar", {"__init__.py": "1 / 0"})

    assert site.run("return list(load_plugins(['quetz-foo']).packages)") == ["quetz_foo"]


def test_the_owner_of_a_table_is_the_plugin_that_declares_it(site):
    site.install("quetz-foo", {"db_models.py": MODELS.format(table="quetz_foo")})
    site.install("quetz-bar", {"db_models.py": "import quetz_foo.db_models\n"})

    owners = site.run("""
        plugins = load_plugins([])
        return [plugins.owner_of_table(name) for name in ("quetz_foo", "channels")]
    """)

    assert owners == ["quetz-foo", "quetz"]


def test_a_table_without_a_class_belongs_to_the_plugin_that_was_imported(site):
    models = """
        import sqlalchemy as sa
        from quetz.plugin_api import Base

        sa.Table("delegations", Base.metadata, sa.Column("id", sa.Integer, primary_key=True))
    """
    site.install("quetz-foo", {"db_models.py": models})

    owner = site.run("""
        load_plugins([])
        return load_plugins([]).owner_of_table("delegations")
    """)

    assert owner == "quetz-foo"


@pytest.mark.parametrize(
    "table",
    [
        pytest.param('sa.Table("channels", sa.MetaData())', id="in-other-metadata"),
        pytest.param('sa.Table("channels", Base.metadata, keep_existing=True)', id="looked-up"),
        pytest.param('type("Mine", (Base,), {"__table__": Channel.__table__})', id="mapped-twice"),
    ],
)
def test_a_table_of_the_core_stays_one_of_the_core(site, table):
    models = f"import sqlalchemy as sa\nfrom quetz.plugin_api import Base, Channel\n{table}\n"
    site.install("quetz-foo", {"db_models.py": models})

    owner, broken = site.run("""
        plugins = load_plugins([])
        return plugins.owner_of_table("channels"), list(plugins.broken)
    """)

    assert (owner, broken) == ("quetz", [])


def test_models_and_migrations_are_found_by_convention(site):
    site.install("quetz-foo", {"db_models.py": MODELS.format(table="quetz_foo")})

    folder = site.run("return load_plugins([]).migrations['quetz-foo']")

    assert folder == str(site.folder / "quetz_foo/migrations/versions")


def test_entry_points_name_other_places_for_models_and_migrations(site):
    site.install(
        "quetz-foo",
        {
            "tables.py": MODELS.format(table="quetz_foo"),
            "db_models.py": "1 / 0",
            "schema/__init__.py": "",
        },
        {"quetz.models": "quetz_foo.tables", "quetz.migrations": "quetz_foo.schema"},
    )

    found = site.run("""
        plugins = load_plugins([])
        return plugins.owner_of_table("quetz_foo"), plugins.migrations["quetz-foo"]
    """)

    assert found == ["quetz-foo", str(site.folder / "quetz_foo/schema/versions")]


def test_migrations_in_a_namespace_package_are_found(site):
    site.install(
        "quetz-foo", {"schema/versions/x.py": ""}, {"quetz.migrations": "quetz_foo.schema"}
    )

    folder = site.run("return load_plugins([]).migrations['quetz-foo']")

    assert folder == str(site.folder / "quetz_foo/schema/versions")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        pytest.param(
            {"hooks.py": "import nowhere"},
            "cannot import quetz_foo.hooks: ModuleNotFoundError: No module named 'nowhere'",
            id="hooks",
        ),
        pytest.param(
            {"db_models.py": "1 / 0"},
            "cannot import quetz_foo.db_models: ZeroDivisionError",
            id="models",
        ),
        pytest.param(
            {"__init__.py": "syntax error"}, "cannot import quetz_foo: SyntaxError", id="package"
        ),
        pytest.param(
            {"db_models.py": MODELS.format(table="channels")},
            "its table 'channels' has the name of one of quetz",
            id="a-table-of-ours",
        ),
        pytest.param(
            {"hooks.py": "from quetz.hooks import hookimpl\n@hookimpl\ndef check_uplaod(): ..."},
            r"unknown hook 'check_uplaod'.*\(hooks: check_upload, index_published",
            id="a-misspelt-hook",
        ),
        pytest.param(
            {"hooks.py": "from quetz.hooks import hookimpl\n@hookimpl\ndef routers(app): ..."},
            "hook 'routers'.*'app'",
            id="an-argument-that-is-not-given",
        ),
        pytest.param(
            {"hooks.py": "def check_upload(archive): ..."},
            "'check_upload' in quetz_foo.hooks is named like a hook; mark it with @hookimpl",
            id="a-hook-without-its-mark",
        ),
        pytest.param(
            {"hooks.py": f"{MARK}async def check_upload(archive): ..."},
            "'check_upload' in quetz_foo.hooks must be a plain function",
            id="an-async-hook",
        ),
        pytest.param(
            {"hooks.py": f"{WRAPPER}def check_upload(archive): yield"},
            "'check_upload' in quetz_foo.hooks must be a plain function",
            id="a-wrapper",
        ),
        pytest.param(
            {"hooks.py": "import sys; sys.exit('bye')"},
            "cannot import quetz_foo.hooks: SystemExit: bye",
            id="an-exit",
        ),
    ],
)
def test_a_faulty_plugin_is_named_with_its_fault(site, files, message):
    site.install("quetz-foo", files)

    with pytest.raises(Refused, match=f"PluginError: plugin 'quetz-foo': .*{message}"):
        site.run("raise load_plugins([]).broken['quetz-foo']")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(
            "return [plain]", "route '/plain' declares no operation: make it on", id="undeclared"
        ),
        pytest.param(
            "return [guarded]",
            "route '/nowhere' declares 'package.read', which is done to a channel",
            id="without-its-channel",
        ),
        pytest.param("1 / 0", "routers() failed: ZeroDivisionError: division", id="a-fault"),
        pytest.param("sys.exit('bye')", "routers() failed: SystemExit: bye", id="an-exit"),
        pytest.param("return 5", "routers() failed: TypeError: 'int'", id="no-list"),
        pytest.param("return [5]", "routers() failed: ", id="no-routers"),
    ],
)
def test_a_plugin_with_faulty_routes_is_named_with_its_fault(site, body, message):
    site.install("quetz-foo", {"hooks.py": ROUTERS.format(body=body)})

    with pytest.raises(Refused, match=re.escape(f"PluginError: plugin 'quetz-foo': {message}")):
        site.run("from quetz.web.app import check_routes; check_routes(load_plugins([]))")


def test_a_server_does_not_start_with_a_plugin_that_has_faulty_routes(site, tmp_path):
    site.install("quetz-foo", {"hooks.py": ROUTERS.format(body="return [plain]")})
    assert site.command("create", tmp_path / "d").returncode == 0

    ended = site.command("start", tmp_path / "d")

    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert line.startswith("quetz: plugin 'quetz-foo': route '/plain' declares no operation")


def test_a_worker_that_meets_faulty_routes_ends_with_one_line_in_its_log(site, tmp_path):
    assert site.command("create", tmp_path / "d").returncode == 0
    site.install("quetz-foo", {"hooks.py": ROUTERS.format(body="1 / 0")})

    code, log = site.run(f"""
        import io, logging, os
        from quetz.asgi import create

        logging.basicConfig(stream=(log := io.StringIO()))
        os.environ |= {{
            "QUETZ_MASTER_PID": str(os.getppid()), "QUETZ_DEPLOYMENT": {str(tmp_path / "d")!r}
        }}
        try:
            create()
        except SystemExit as exit:
            return exit.code, log.getvalue().splitlines()
    """)

    assert code == 1
    [line] = log
    assert "plugin 'quetz-foo': routers() failed: ZeroDivisionError: division by zero" in line


@pytest.mark.parametrize("body", ["return [sound]", "return ()", "pass"])
def test_sound_routes_are_accepted(site, body):
    site.install("quetz-foo", {"hooks.py": ROUTERS.format(body=body)})

    site.run("from quetz.web.app import check_routes; check_routes(load_plugins([]))")


def test_an_enabled_plugin_that_is_not_installed_is_named(site):
    site.install("quetz-foo", {})

    with pytest.raises(Refused, match=r"'quetz-bar': is enabled but .*installed: quetz-foo\)"):
        site.run("raise load_plugins(['quetz-bar']).broken['quetz-bar']")


def test_a_plugin_cannot_take_the_name_of_quetz(site):
    site.install("quetz", {"../quetz_x/__init__.py": ""}, {"quetz": "quetz_x"})

    with pytest.raises(Refused, match="the name is taken by quetz itself"):
        site.run("raise load_plugins([]).broken['quetz']")


@pytest.mark.parametrize("name", plugin_api.__all__)
def test_each_name_of_the_plugin_api_can_be_imported(name):
    assert getattr(plugin_api, name) is not None


def test_an_unknown_name_of_the_plugin_api_is_refused():
    with pytest.raises(AttributeError, match=r"no 'Nowhere'; it has: Base"):
        plugin_api.Nowhere  # noqa: B018


def test_models_of_a_plugin_do_not_load_the_web_server(site):
    site.install("quetz-foo", {"db_models.py": MODELS.format(table="quetz_foo")})

    loaded = site.run("""
        import sys
        load_plugins([])
        return [module for module in ("quetz_foo.db_models", "fastapi") if module in sys.modules]
    """)

    assert loaded == ["quetz_foo.db_models"]


def test_the_examples_in_the_reference_of_hooks_work(site):
    text = (Path(__file__).parents[2] / "docs/reference/hooks.md").read_text("utf-8")
    refusing, routing = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    site.install("quetz-refusing", {"hooks.py": refusing})
    site.install("quetz-routing", {"hooks.py": routing})

    body = """
        from types import SimpleNamespace as Named
        hook = load_plugins([]).hook
        assert [route.path for [router] in hook.routers() for route in router.routes] == [
            "/api/channels/{channel}/foo"
        ]
        hook.check_upload(channel="c", archive=Named(filename=Named(name="tmp-x")))
    """

    with pytest.raises(Refused, match="Invalid: names must not begin with tmp-"):
        site.run(body)
