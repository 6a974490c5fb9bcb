import resource
import stat
import subprocess
import sys
import tomllib
from contextlib import closing

import pytest

from quetz.deployment import Deployment
from quetz.services.authentication import authenticate_key
from quetz.services.permissions import Role
from quetz.tests.cli.folders import tree

PASSWORD = "p%40ss%3Aw%25rd"
AWAY = f"postgresql://quetz:{PASSWORD}@127.0.0.1:1/quetz"


def owner_of(path, key):
    """Return whose key it is in the deployment."""
    with closing(Deployment.open(path)) as deployment, deployment.transaction() as session:
        principal = authenticate_key(session, key)
        return principal and (principal.username, principal.server_role)


def key_in(line):
    name, _, key = line.rstrip("\n").partition("=")
    assert name == "QUETZ_API_KEY"
    return key


def test_create_makes_a_deployment_that_opens(quetz, tmp_path):
    path = tmp_path / "new" / "deployment"

    result = quetz("create", path)

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"Created the deployment '{path}'\n"
    with closing(Deployment.open(path)) as deployment:
        assert not deployment.settings.general.dev
    assert {"config.toml", "quetz.sqlite", "store"} == {entry.name for entry in path.iterdir()}


def test_the_configuration_is_private(quetz, tmp_path):
    quetz("create", tmp_path / "d")

    config = tmp_path / "d" / "config.toml"
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert tomllib.loads(config.read_text())["session"] == {"https_only": True}


def test_create_dev_prints_the_key_of_the_owner_alice(quetz, tmp_path):
    result = quetz("create", tmp_path / "d", "--dev")

    assert result.exit_code == 0
    assert result.stdout.count("\n") == 1
    assert owner_of(tmp_path / "d", key_in(result.stdout)) == ("alice", Role.OWNER)
    config = tomllib.loads((tmp_path / "d" / "config.toml").read_text())
    assert config["general"] == {"dev": True}
    assert config["session"]["https_only"] is False


def test_an_existing_deployment_is_refused_and_left_alone(quetz, tmp_path, path):
    before = tree(tmp_path)

    result = quetz("create", path, "--dev")

    assert result.exit_code == 1
    assert "is a deployment already; leave it alone with --exists-ok" in result.stderr
    assert tree(tmp_path) == before


def test_exists_ok_leaves_an_existing_deployment_alone(quetz, tmp_path, path):
    before = tree(tmp_path)

    result = quetz("create", path, "--exists-ok")

    assert (result.exit_code, result.stdout) == (0, "")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("command", [["create", "--exists-ok"], ["run", "--skip-if-exists"]])
def test_a_deployment_is_not_made_one_for_development(quetz, tmp_path, command, path):
    before = tree(tmp_path)

    result = quetz(*command, path, "--dev")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "was not created with --dev; leave the option out" in result.stderr
    assert tree(tmp_path) == before


def test_delete_replaces_a_deployment(quetz, tmp_path):
    old = key_in(quetz("create", tmp_path / "d", "--dev").stdout)
    (tmp_path / "d" / "store" / "old").mkdir()

    result = quetz("create", tmp_path / "d", "--delete", "--create-conf", "--dev")

    assert result.exit_code == 0
    assert owner_of(tmp_path / "d", old) is None
    assert owner_of(tmp_path / "d", key_in(result.stdout)) == ("alice", Role.OWNER)
    assert not (tmp_path / "d" / "store" / "old").exists()


def test_a_deployment_can_be_made_anew_from_its_own_configuration(quetz, path):
    config = path / "config.toml"
    text = config.read_text()

    result = quetz("create", path, "--delete", "--copy-conf", config)

    assert result.exit_code == 0
    assert config.read_text() == text


def test_a_replacement_that_fails_leaves_the_old_deployment(quetz, tmp_path, path):
    bad = tmp_path / "bad.toml"
    bad.write_text("[general]\ndevv = true\n")
    before = tree(tmp_path)

    result = quetz("create", path, "--delete", "--copy-conf", bad)

    assert result.exit_code == 2
    assert result.stderr.startswith(f"quetz: '{bad}': unknown key [general] devv")
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["--delete"], id="delete without a configuration"),
        pytest.param(["--delete", "--create-conf", "--exists-ok"], id="delete and exists-ok"),
        pytest.param(["--create-conf", "--copy-conf", __file__], id="two configurations"),
        pytest.param(["--copy-conf", "no-such-file"], id="no file to copy"),
    ],
)
def test_options_that_contradict_each_other_are_wrong_usage(quetz, tmp_path, options):
    result = quetz("create", tmp_path / "d", *options)

    assert result.exit_code == 2
    assert tree(tmp_path) == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", {"general": {"dev": True}}, id="empty"),
        pytest.param(
            "[limits]\nupload_size = 1",
            {"limits": {"upload_size": 1}, "general": {"dev": True}},
            id="no section",
        ),
        pytest.param("[general] # x\n", {"general": {"dev": True}}, id="section without it"),
        pytest.param("general.dev = true", {"general": {"dev": True}}, id="set already"),
    ],
)
def test_dev_is_added_to_a_copied_configuration(quetz, tmp_path, text, expected):
    file = tmp_path / "mine.toml"
    file.write_text(text)

    result = quetz("create", tmp_path / "d", "--copy-conf", file, "--dev")

    assert result.exit_code == 0
    assert tomllib.loads((tmp_path / "d" / "config.toml").read_text()) == expected
    assert file.read_text() == text


def test_dev_does_not_overrule_a_configuration(quetz, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[general]\ndev = false\n")

    result = quetz("create", tmp_path / "d", "--copy-conf", file, "--dev")

    assert result.exit_code == 2
    assert result.stderr == (f"quetz: '{file}': --dev contradicts [general] dev; leave one out\n")


def test_a_folder_with_only_a_configuration_is_made_a_deployment(quetz, tmp_path):
    config = tmp_path / "config.toml"
    config.write_text("[sqlalchemy]\ndatabase_url = 'sqlite:///db/mine.sqlite'\n")

    result = quetz("create", tmp_path)

    assert result.exit_code == 0
    assert config.read_text() == "[sqlalchemy]\ndatabase_url = 'sqlite:///db/mine.sqlite'\n"
    assert (tmp_path / "db" / "mine.sqlite").is_file()


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        pytest.param("photo.jpg", [], "holds 'photo.jpg', which is not", id="other things"),
        pytest.param("config.toml", ["--create-conf"], "has a config.toml already", id="config"),
        pytest.param("config.toml", ["--copy-conf", __file__], "has a config.toml", id="copy"),
    ],
)
def test_a_folder_in_use_is_refused_and_left_alone(quetz, tmp_path, name, options, reason):
    (tmp_path / name).write_text("")

    result = quetz("create", tmp_path, *options)

    assert result.exit_code == 1
    assert reason in result.stderr
    assert tree(tmp_path) == {name: b""}


def test_a_file_is_no_place_for_a_deployment(quetz, tmp_path):
    (tmp_path / "file").write_text("")

    result = quetz("create", tmp_path / "file")

    assert (result.exit_code, tree(tmp_path)) == (1, {"file": b""})


def test_a_failed_create_leaves_nothing_behind(quetz, tmp_path):
    config = tmp_path / "config.toml"
    config.write_text(f"[sqlalchemy]\ndatabase_url = '{AWAY}'\n")
    before = tree(tmp_path)

    alone = quetz("create", tmp_path)
    copied = quetz("create", tmp_path / "new" / "d", "--copy-conf", config)

    assert (alone.exit_code, copied.exit_code) == (1, 1)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("place", ["quetz.sqlite", "{outside}/outside.sqlite"])
def test_a_create_that_runs_out_of_disk_leaves_nothing_behind(tmp_path, place):
    config = tmp_path / "mine.toml"
    url = f"sqlite:///{place.format(outside=tmp_path)}"
    config.write_text(f"[sqlalchemy]\ndatabase_url = '{url}'\n")
    program = [sys.executable, "-m", "quetz", "create", tmp_path / "d", "--copy-conf", config]

    result = subprocess.run(
        program,
        capture_output=True,
        text=True,
        check=False,
        # No file may grow beyond two pages: writing more fails, as on a full disk.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192)),
    )

    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert list(tree(tmp_path)) == ["mine.toml"]


@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_the_password_of_the_database_is_never_printed(quetz, tmp_path, debug):
    config = tmp_path / "config.toml"
    config.write_text(f"[sqlalchemy]\ndatabase_url = '{AWAY}'\n")

    result = quetz(*debug, "init-db", tmp_path)

    assert result.exit_code == 1
    assert "quetz: the database cannot be reached: " in result.stderr
    for part in (PASSWORD, "p@ss:w%rd", "ss:w", "ss%3Aw"):
        assert part not in result.output
