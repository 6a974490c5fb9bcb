"""Listing and installing plugins: programs, since each sees other distributions."""

import json
import subprocess
import sys
from textwrap import dedent

import pytest
from sqlalchemy import URL

from quetz.tests.migrations.databases import REVISION
from quetz.tests.migrations.distributions import Site

MODELS = """
    from sqlalchemy.orm import Mapped, mapped_column
    from quetz.plugin_api import Base

    class Note(Base):
        __tablename__ = "quetz_foo"
        id: Mapped[int] = mapped_column(primary_key=True)
"""

FIRST = REVISION.format(
    revision="f00", parent=None, labels=("quetz-foo",), upgrade="pass", downgrade="pass"
)

# A backend of its own, since those that are known would have to be downloaded.
PROJECT = {
    "pyproject.toml": """\
        [build-system]
        requires = []
        build-backend = "backend"
        backend-path = ["."]
    """,
    "backend.py": """\
        import zipfile
        from pathlib import Path

        RECORDS = {
            "METADATA": "Metadata-Version: 2.1\\nName: quetz-foo\\nVersion: 1.5\\n",
            "WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
            "entry_points.txt": "[quetz]\\nquetz-foo = quetz_foo.hooks\\n",
            "RECORD": "",
        }

        def build_wheel(folder, config_settings=None, metadata_directory=None):
            name = "quetz_foo-1.5-py3-none-any.whl"
            with zipfile.ZipFile(Path(folder, name), "w") as wheel:
                for record, content in RECORDS.items():
                    wheel.writestr(f"quetz_foo-1.5.dist-info/{record}", content)
                for file in Path().glob("quetz_foo/**/*.py"):
                    wheel.write(file)
            return name

        build_editable = build_wheel
    """,
    "quetz_foo/hooks.py": "",
    "quetz_foo/migrations/versions/f00_first.py": FIRST,
}


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder where pip installs, too, without a network."""
    site = Site(tmp_path / "site")
    site.folder.mkdir()
    for name, value in {"TARGET": str(site.folder), "NO_INDEX": "1", "NO_CACHE_DIR": "1"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    return site


@pytest.fixture
def project(tmp_path):
    """The folder of a plugin with one migration."""
    for name, content in PROJECT.items():
        file = tmp_path / "quetz-foo" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(content))
    return tmp_path / "quetz-foo"


def replace_pip(site, program):
    """Let ``python -m pip`` run another program."""
    folder = site.folder / "pip"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "__main__.py").write_text(f"import sys\n{program}\n")


def built(project):
    """Return the wheel of the plugin in a folder."""
    program = "import backend; print(backend.build_wheel('.'))"
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=project, check=True, capture_output=True, text=True
    )
    return project / ended.stdout.strip()


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
        "pending": 0,
        "state": "ok",
        "reason": "",
    }
    assert (rows["quetz-bar"]["state"], rows["quetz-bar"]["package"]) == ("broken", "quetz_bar")
    assert rows["quetz-bar"]["pending"] is None
    assert "ZeroDivisionError" in rows["quetz-bar"]["reason"]


def test_plugins_that_are_off_or_missing_are_listed_as_such(site, path, monkeypatch):
    site.install("quetz-foo", {"__init__.py": "1 / 0"})
    monkeypatch.setenv("QUETZ_PLUGINS_ENABLED", '["quetz-bar"]')

    rows = rows_of(site.command("plugin", "list", path, "--json"))

    assert (rows["quetz-foo"]["state"], rows["quetz-foo"]["enabled"]) == ("off", False)
    assert rows["quetz-foo"]["pending"] is None
    assert (rows["quetz-bar"]["state"], rows["quetz-bar"]["enabled"]) == ("broken", True)
    assert "is enabled but not installed" in rows["quetz-bar"]["reason"]


def test_the_list_is_a_table_with_faults_below_their_plugins(site, path):
    site.install("quetz-foo", {"db_models.py": MODELS})
    site.install("quetz-bar", {"hooks.py": "import nowhere"})

    ended = site.command("plugin", "list", path)

    heading, broken, reason, sound = ended.stdout.splitlines()
    assert heading.split() == ["name", "version", "package", "state", "pending", "tables"]
    assert broken.split() == ["quetz-bar", "1.0", "quetz_bar", "broken", "-"]
    assert "No module named 'nowhere'" in reason
    assert sound.split() == ["quetz-foo", "1.0", "quetz_foo", "ok", "0", "quetz_foo"]


def test_without_plugins_the_list_says_so(site, path):
    ended = site.command("plugin", "list", path)

    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr == "No plugin is installed\n"


def test_pending_migrations_are_counted(site, path):
    site.install("quetz-foo", {"migrations/versions/f00_first.py": FIRST})

    rows = rows_of(site.command("plugin", "list", path, "--json"))

    assert rows["quetz-foo"]["pending"] == 1


def test_a_plugin_whose_migrations_cannot_be_read_is_broken(site, path):
    site.install("quetz-foo", {"migrations/versions/f00_first.py": "1 / 0"})

    rows = rows_of(site.command("plugin", "list", path, "--json"))

    assert rows["quetz-foo"]["state"] == "broken"
    assert "division by zero" in rows["quetz-foo"]["reason"]


@pytest.mark.parametrize(
    "url",
    [
        pytest.param(URL.create("sqlite", database="away.sqlite"), id="sqlite"),
        pytest.param(
            URL.create("postgresql", "ann", "hush", "localhost", 1, "away"), id="postgresql"
        ),
    ],
)
def test_plugins_are_listed_although_the_database_is_away(site, path, url, monkeypatch):
    site.install("quetz-foo", {"migrations/versions/f00_first.py": FIRST})
    shown = url.render_as_string(hide_password=False)
    monkeypatch.setenv("QUETZ_SQLALCHEMY_DATABASE_URL", shown)

    ended = site.command("plugin", "list", path, "--json")

    [row] = json.loads(ended.stdout)
    assert (ended.returncode, row["state"], row["pending"]) == (0, "ok", None)
    [line] = ended.stderr.splitlines()
    assert line.startswith("Pending migrations cannot be told: the database")
    assert "hush" not in line


def test_a_folder_is_installed_and_its_migrations_are_told(site, path, project):
    ended = site.command_apart("plugin", "install", project, "--deployment", path)

    assert (ended.returncode, ended.stdout) == (0, "quetz-foo 1.5\n")
    pending, following = ended.stderr.splitlines()[-2:]
    assert pending == "Pending migrations of quetz-foo: f00"
    assert following.endswith(f"run: quetz init-db {path}")


def test_a_working_copy_is_installed_in_development_mode(site, project, monkeypatch):
    monkeypatch.chdir(project)

    ended = site.command("plugin", "install", "-e", ".")

    assert (ended.returncode, ended.stdout) == (0, "quetz-foo 1.5\n")
    assert ended.stderr.splitlines()[-1].endswith("run: quetz init-db DEPLOYMENT")
    [origin] = site.folder.glob("quetz_foo-1.5.dist-info/direct_url.json")
    assert json.loads(origin.read_text())["dir_info"] == {"editable": True}


def test_a_new_plugin_that_is_not_enabled_is_told_to_be_off(site, path, project, monkeypatch):
    monkeypatch.setenv("QUETZ_PLUGINS_ENABLED", '["quetz-bar"]')
    site.install("quetz-bar", {})

    ended = site.command("plugin", "install", project, "--deployment", path)

    assert (ended.returncode, ended.stdout) == (0, "quetz-foo 1.5\n")
    off, pending = ended.stderr.splitlines()[-2:]
    assert off == "'quetz-foo' is off until [plugins] enabled names it, too"
    assert pending == "No migration is pending"


def test_what_was_there_already_is_not_new(site, path, monkeypatch):
    replace_pip(site, "print('fetching')")
    site.install("quetz-foo", {})
    monkeypatch.chdir(path)

    ended = site.command("plugin", "install", "quetz-foo")

    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr.splitlines() == [
        "fetching",
        "No plugin is new; installed are: quetz-foo",
        "No migration is pending",
    ]


def test_a_wheel_that_pip_leaves_aside_is_no_success(site, project):
    wheel = built(project)
    first = site.command("plugin", "install", wheel)
    (project / "quetz_foo" / "hooks.py").write_text("changed = True\n")

    second = site.command("plugin", "install", built(project))

    assert (first.returncode, first.stdout) == (0, "quetz-foo 1.5\n")
    assert (second.returncode, second.stdout) == (2, "")
    assert "is new" not in second.stderr
    assert second.stderr.splitlines()[-1].startswith(
        "quetz: quetz-foo 1.5 is installed already and was left as it is; raise its version"
    )


def test_a_wheel_that_is_installed_already_is_a_success(site, project):
    wheel = built(project)
    site.command("plugin", "install", wheel)

    again = site.command("plugin", "install", wheel)

    assert again.returncode == 0
    assert "No plugin is new; installed are: quetz-foo" in again.stderr


def test_a_database_that_is_missing_does_not_undo_the_install(site, path, project):
    (path / "quetz.sqlite").unlink()

    ended = site.command("plugin", "install", project, "--deployment", path)

    assert (ended.returncode, ended.stdout) == (0, "quetz-foo 1.5\n")
    reason, following = ended.stderr.splitlines()[-2:]
    assert "quetz.sqlite' is missing" in reason
    assert following.endswith(f"run: quetz init-db {path}")


def test_folders_are_installed_as_folders_and_names_as_names(site, tmp_path, monkeypatch):
    replace_pip(site, "print(sys.argv[1:])")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quetz-foo").mkdir()

    ended = site.command("plugin", "install", "quetz-foo", "quetz-bar", "-e", "baz")

    shown = ended.stderr.splitlines()[0]
    folder = str(tmp_path / "quetz-foo")
    assert shown == str(["install", "--editable", "baz", "--", folder, "quetz-bar"])


def test_what_pip_cannot_install_ends_with_one_sentence(site):
    ended = site.command("plugin", "install", "quetz-nowhere")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines()[-1] == (
        "quetz: pip could not install 'quetz-nowhere'; its output above says why"
    )


def test_urls_are_not_repeated_for_they_may_hold_a_secret(site):
    replace_pip(site, "sys.exit(1)")
    url = "git+https://hush@example.org/quetz-foo"

    ended = site.command("plugin", "install", url, f"quetz-bar @ {url}", "-e", url)

    assert ended.returncode == 2
    assert "pip could not install a URL, a URL, a URL" in ended.stderr
    assert "hush" not in ended.stderr


def test_modules_in_the_current_folder_are_not_run(site, tmp_path, monkeypatch):
    (tmp_path / "pip.py").write_text("print('not that pip')")
    monkeypatch.chdir(tmp_path)

    ended = site.command("plugin", "install", "quetz-nowhere")

    assert "not that pip" not in ended.stderr
    assert "pip could not install" in ended.stderr


def test_without_pip_the_way_out_is_told(site):
    (site.folder / "sitecustomize.py").write_text("import sys\nsys.modules['pip'] = None\n")

    ended = site.command_apart("plugin", "install", "quetz-foo")

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
