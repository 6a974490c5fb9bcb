import os
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser

import pytest

from quetz.tests.architecture.sources import ROOT
from quetz.tests.cli.folders import obey_permissions, tree

RULE = "use a-z, 0-9 and single dashes"


@pytest.fixture
def cookies(tmp_path):
    """A folder for what cookiecutter makes."""
    folder = tmp_path / "cookies"
    folder.mkdir()
    return folder


@pytest.fixture
def cookiecutter(tmp_path, cookies):
    """Run ``cookiecutter plugin-template``."""

    def run(name: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cookiecutter", str(ROOT / "plugin-template")]
        command += ["--no-input", "--output-dir", str(cookies), f"plugin_name={name}"]
        environment = os.environ | {"HOME": str(tmp_path)}  # where it keeps what was answered
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "plugins"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("name", ["foo", "quetz-foo", "quetz_foo", "my_foo-2"])
def test_the_tree_is_that_of_cookiecutter(quetz, cookiecutter, cookies, folder, name):
    assert quetz("plugin", "new", name, "--directory", folder).exit_code == 0
    ran = cookiecutter(name)

    assert ran.returncode == 0, ran.stderr
    assert tree(folder) == tree(cookies)
    assert len(tree(folder)) > 10


@pytest.mark.parametrize(
    ("name", "distribution", "package"),
    [
        pytest.param("foo", "quetz-foo", "quetz_foo", id="short"),
        pytest.param("quetz-foo", "quetz-foo", "quetz_foo", id="distribution"),
        pytest.param("quetz_foo", "quetz-foo", "quetz_foo", id="package"),
        pytest.param("two-words", "quetz-two-words", "quetz_two_words", id="dash"),
    ],
)
def test_the_names_of_a_plugin_follow_from_one(quetz, folder, name, distribution, package):
    result = quetz("plugin", "new", name, "--directory", folder)

    assert result.exit_code == 0
    assert result.stdout == f"{folder / distribution}\n"
    assert (folder / distribution / package / "migrations/versions").is_dir()
    assert [path for path in tree(folder) if "cookiecutter" in path] == []
    files = [content for content in tree(folder).values() if content is not None]
    assert [content for content in files if b"cookiecutter" in content] == []


def test_the_next_commands_are_told_on_standard_error(quetz, tmp_path):
    folder = tmp_path / "my plugins"
    folder.mkdir()

    result = quetz("plugin", "new", "foo", "--directory", folder)

    install, create, make, apply = [line.strip() for line in result.stderr.splitlines()[1:]]
    assert install == f"pip install -e '{folder}/quetz-foo[test]'"
    assert create == "quetz create deployment_dir"
    assert make.startswith('quetz make-migrations deployment_dir --message "initial revision"')
    assert make.endswith(" --initialize --plugin quetz-foo")
    assert apply == "quetz init-db deployment_dir"


def test_without_a_directory_the_plugin_is_made_in_the_current_folder(quetz, folder, monkeypatch):
    monkeypatch.chdir(folder)

    assert quetz("plugin", "new", "foo").stdout == "quetz-foo\n"

    assert [path.name for path in folder.iterdir()] == ["quetz-foo"]


BAD_NAMES = ["Foo", "föö", "a b", "a--b", "a-", "-a", "", "quetz-", "../foo", "a/b", "foo\n"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_name_is_refused_and_leaves_nothing(quetz, folder, name):
    result = quetz("plugin", "new", "--directory", folder, "--", name)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"quetz: plugin name {name!r} is not allowed: {RULE}\n"
    assert tree(folder.parent) == {"plugins": None}


@pytest.mark.parametrize("name", ["Foo", "a b", "a--b"])
def test_cookiecutter_refuses_bad_names_too(cookiecutter, cookies, name):
    result = cookiecutter(name)

    assert result.returncode != 0
    assert f"is not allowed: {RULE}" in result.stderr
    assert tree(cookies) == {}


@pytest.mark.parametrize("kind", ["plugin", "empty-folder", "file", "dangling-link"])
def test_what_is_in_the_place_is_left_alone(quetz, folder, kind):
    path = folder / "quetz-foo"
    if kind == "plugin":
        quetz("plugin", "new", "foo", "--directory", folder)
        (path / "README.md").write_text("changed")
    elif kind == "empty-folder":
        path.mkdir()
    elif kind == "file":
        path.write_text("mine")
    else:
        path.symlink_to("nowhere")
    before = tree(folder)

    result = quetz("plugin", "new", "foo", "--directory", folder)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"quetz: '{path}' exists already; choose another name, or another --directory\n"
    )
    assert tree(folder) == before


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_the_directory_must_be_a_folder(quetz, folder, kind):
    path = folder / "there"
    if kind == "file":
        path.write_text("")
    before = tree(folder)

    result = quetz("plugin", "new", "foo", "--directory", path)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"quetz: --directory: '{path}' is not a folder; choose one that exists\n"
    )
    assert tree(folder) == before


def test_a_folder_that_may_not_be_written_is_named(folder):
    folder.chmod(0o555)
    command = [sys.executable, "-m", "quetz", "plugin", "new", "foo", "--directory", folder]

    result = subprocess.run(
        command, preexec_fn=obey_permissions, capture_output=True, text=True, check=False
    )

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"quetz: '{folder}': Permission denied\n"
    assert tree(folder) == {}


def test_a_failure_half_way_leaves_nothing(folder):
    program = (
        "import resource, signal, sys\n"
        "from quetz.__main__ import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "sys.exit(main())\n"
    )
    command = [sys.executable, "-c", program, "plugin", "new", "foo", "--directory", folder]

    result = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"quetz: '{folder}': File too large\n"
    assert tree(folder) == {}


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """A folder with what the wheel of quetz holds."""
    folder = tmp_path_factory.mktemp("wheel")
    build(ROOT, folder)
    [wheel] = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def test_an_installed_quetz_makes_the_same_tree(quetz, installed, folder, tmp_path):
    quetz("plugin", "new", "foo", "--directory", tmp_path)
    command = [sys.executable, "-m", "quetz", "plugin", "new", "foo"]

    # What pip compiles while it installs must not be taken for the template's.
    subprocess.run([sys.executable, "-m", "compileall", "-q", installed], check=True)
    subprocess.run(command, env=os.environ | {"PYTHONPATH": str(installed)}, cwd=folder, check=True)

    assert tree(folder / "quetz-foo") == tree(tmp_path / "quetz-foo")


def test_quetz_has_the_extra_that_a_new_plugin_is_tested_with(quetz, installed, folder):
    quetz("plugin", "new", "foo", "--directory", folder)
    project = tomllib.loads((folder / "quetz-foo/pyproject.toml").read_text())["project"]
    [record] = installed.glob("quetz-*.dist-info")

    metadata = Parser().parsestr((record / "METADATA").read_text())

    extras = [f"quetz[{extra}]" for extra in metadata.get_all("Provides-Extra", [])]
    assert extras == project["optional-dependencies"]["test"]


def test_the_wheel_of_a_new_plugin_holds_its_migrations(quetz, folder, tmp_path):
    quetz("plugin", "new", "foo", "--directory", folder)
    path = folder / "quetz-foo"
    build(path, tmp_path / "empty")
    (path / "quetz_foo/migrations/versions/0123_initial_revision.py").write_text("")
    build(path, tmp_path / "later")

    versions = "quetz_foo/migrations/versions"
    assert names_in(tmp_path / "empty", versions) == [f"{versions}/.gitkeep"]
    assert f"{versions}/0123_initial_revision.py" in names_in(tmp_path / "later", versions)


def build(project, folder):
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run([*command, "--directory", folder], cwd=project, check=True, capture_output=True)


def names_in(folder, prefix):
    [wheel] = folder.glob("*.whl")
    return [name for name in zipfile.ZipFile(wheel).namelist() if name.startswith(prefix)]
