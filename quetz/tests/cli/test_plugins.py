"""Listing and installing plugins: programs, since each sees other distributions."""

import json
import zipfile

import pytest

from quetz.tests.migrations.databases import REVISION
from quetz.tests.migrations.distributions import Site

MODELS = """
    from sqlalchemy.orm import Mapped, mapped_column
    from quetz.plugin_api import Base

    class Note(Base):
        __tablename__ = "quetz_foo"
        id: Mapped[int] = mapped_column(primary_key=True)
"""

WHEEL = {
    "METADATA": "Metadata-Version: 2.1\nName: quetz-foo\nVersion: 1.5\n",
    "WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "entry_points.txt": "[quetz]\nquetz-foo = quetz_foo.hooks\n",
    "RECORD": "",
}


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path / "site")
    site.folder.mkdir()
    return site


@pytest.fixture
def path(site, tmp_path):
    """A deployment that was made without plugins."""
    assert site.command("create", tmp_path / "d").returncode == 0
    return tmp_path / "d"


def replace_pip(site, program):
    """Let ``python -m pip`` run another program."""
    folder = site.folder / "pip"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "__main__.py").write_text(f"import sys\n{program}\n")


def make_wheel(folder):
    revision = REVISION.format(
        revision="f00", parent=None, labels=("quetz-foo",), upgrade="pass", downgrade="pass"
    )
    file = folder / "quetz_foo-1.5-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as wheel:
        for name, content in WHEEL.items():
            wheel.writestr(f"quetz_foo-1.5.dist-info/{name}", content)
        wheel.writestr("quetz_foo/hooks.py", "")
        wheel.writestr("quetz_foo/migrations/versions/f00_first.py", revision)
    return file


def rows_of(ended):
    assert (ended.returncode, ended.stderr) == (0, "")
    return {row.pop("name"): row for row in json.loads(ended.stdout)}


def test_each_plugin_is_listed_with_its_tables_and_faults(site, path):
    site.install("quetz-foo", {"db_models.py": MODELS})
    site.install("quetz-bar", {"hooks.py": "1 / 0"})

    rows = rows_of(site.command("plugin", "list", path, "--json"))

    assert rows["quetz-foo"] == {
        "version": "1.0",
        "package": "quetz_foo",
        "enabled": True,
        "tables": ["quetz_foo"],
        "state": "ok",
        "reason": "",
    }
    assert (rows["quetz-bar"]["state"], rows["quetz-bar"]["package"]) == ("broken", "quetz_bar")
    assert "ZeroDivisionError" in rows["quetz-bar"]["reason"]


def test_plugins_that_are_off_or_missing_are_listed_as_such(site, path, monkeypatch):
    site.install("quetz-foo", {"__init__.py": "1 / 0"})
    monkeypatch.setenv("QUETZ_PLUGINS_ENABLED", '["quetz-bar"]')

    rows = rows_of(site.command("plugin", "list", path, "--json"))

    assert (rows["quetz-foo"]["state"], rows["quetz-foo"]["enabled"]) == ("off", False)
    assert (rows["quetz-bar"]["state"], rows["quetz-bar"]["enabled"]) == ("broken", True)
    assert "is enabled but not installed" in rows["quetz-bar"]["reason"]


def test_the_list_is_a_table_with_faults_below_their_plugins(site, path):
    site.install("quetz-foo", {"db_models.py": MODELS})
    site.install("quetz-bar", {"hooks.py": "import nowhere"})

    ended = site.command("plugin", "list", path)

    heading, broken, reason, sound = ended.stdout.splitlines()
    assert heading.split() == ["name", "version", "package", "state", "tables"]
    assert broken.split() == ["quetz-bar", "1.0", "quetz_bar", "broken"]
    assert "No module named 'nowhere'" in reason
    assert sound.split() == ["quetz-foo", "1.0", "quetz_foo", "ok", "quetz_foo"]


def test_without_plugins_the_list_says_so(site, path):
    ended = site.command("plugin", "list", path)

    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr == "No plugin is installed\n"


def test_what_was_installed_is_named_with_its_pending_migrations(site, path, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_TARGET", str(site.folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")

    ended = site.command("plugin", "install", make_wheel(tmp_path), "--deployment", path)

    assert (ended.returncode, ended.stdout) == (0, "quetz-foo f00\n")
    assert ended.stderr.endswith(f"Migrate the database now: quetz init-db {path}\n")
    assert rows_of(site.command("plugin", "list", path, "--json"))["quetz-foo"]["version"] == "1.5"


def test_without_a_deployment_nothing_is_said_of_its_migrations(site, tmp_path):
    replace_pip(site, "print('fetching')")

    ended = site.command("plugin", "install", "quetz-foo")

    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr == "fetching\nMigrate the database now: quetz init-db DEPLOYMENT\n"


def test_a_plugin_without_migrations_leaves_nothing_pending(site, path, monkeypatch):
    replace_pip(site, "")
    monkeypatch.chdir(path)

    ended = site.command("plugin", "install", "quetz-foo")

    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr.startswith("No migration is pending\n")


def test_a_database_that_is_missing_does_not_undo_the_install(site, path):
    replace_pip(site, "")
    (path / "quetz.sqlite").unlink()

    ended = site.command("plugin", "install", "quetz-foo", "--deployment", path)

    assert (ended.returncode, ended.stdout) == (0, "")
    assert "quetz.sqlite' is missing" in ended.stderr


def test_folders_are_installed_as_folders_and_names_as_names(site, tmp_path, monkeypatch):
    replace_pip(site, "print(sys.argv[1:])")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quetz-foo").mkdir()

    ended = site.command("plugin", "install", "quetz-foo", "quetz-bar", "-e", "baz")

    shown, _ = ended.stderr.splitlines()
    folder = str(tmp_path / "quetz-foo")
    assert shown == str(["install", "--editable", "baz", "--", folder, "quetz-bar"])


def test_what_pip_cannot_install_ends_with_one_sentence(site):
    replace_pip(site, "sys.exit(3)")

    ended = site.command("plugin", "install", "quetz-foo")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("quetz: plugin 'quetz-foo': pip could not install it")


def test_without_pip_the_way_out_is_told(site):
    (site.folder / "sitecustomize.py").write_text("import sys\nsys.modules['pip'] = None\n")

    ended = site.command("plugin", "install", "quetz-foo")

    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert line.startswith("quetz: there is no pip in the environment of quetz")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        pytest.param(["install"], "name a plugin", id="nothing-to-install"),
        pytest.param(
            ["install", "x", "--deployment", "nowhere"], "is not a quetz deployment", id="install"
        ),
        pytest.param(["list", "nowhere"], "is not a quetz deployment", id="list"),
    ],
)
def test_wrong_use_is_refused_before_anything_is_done(site, arguments, reason):
    replace_pip(site, "raise AssertionError")

    ended = site.command("plugin", *arguments)

    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert reason in line
