import logging
import os
from pathlib import Path

import pytest

from quetz import settings as settings_module
from quetz.errors import BadConfig
from quetz.settings import SECTIONS, Settings, load_settings

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"
SECRET = "p%40ss:w@rd/%"


@pytest.fixture(autouse=True)
def no_other_settings(tmp_path, monkeypatch):
    """Neither the machine's files nor its variables."""
    for name in ("XDG_CONFIG_DIRS", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr(settings_module, "SITE_FILE", tmp_path / "etc" / "config.toml")
    for name in list(os.environ):
        if name.startswith("QUETZ_") and not name.startswith("QUETZ_TEST_"):
            monkeypatch.delenv(name)


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def refusal(deployment: Path) -> str:
    with pytest.raises(BadConfig) as refused:
        load_settings(deployment)
    return str(refused.value)


def test_without_any_file_every_setting_has_its_default(tmp_path):
    settings = load_settings(tmp_path)

    assert settings == Settings()
    assert settings.sqlalchemy.database_url.get_secret_value() == "sqlite:///quetz.sqlite"
    assert settings.session.https_only
    assert not settings.general.dev


def test_files_are_merged_key_by_key_and_the_later_one_wins(tmp_path, monkeypatch):
    pool = "[sqlalchemy]\npostgres_pool_size = {0}\npostgres_max_overflow = {0}\n"
    write(tmp_path / "etc" / "config.toml", pool.format(1) + "[quotas]\nchannel_quota = 1\n")
    write(tmp_path / "XDG_CONFIG_DIRS" / "quetz" / "config.toml", "[quotas]\nchannel_quota = 2\n")
    write(tmp_path / "XDG_CONFIG_HOME" / "quetz" / "config.toml", pool.format(3))
    write(
        tmp_path / "config.toml",
        "[sqlalchemy]\npostgres_pool_size = 4\n[plugins]\nenabled = ['a']\n",
    )
    explicit = write(tmp_path / "explicit.toml", "[plugins]\nenabled = ['b']\n")
    monkeypatch.setenv("QUETZ_CONFIG_FILE", str(explicit))

    settings = load_settings(tmp_path)

    assert settings.quotas.channel_quota == 2
    assert settings.sqlalchemy.postgres_max_overflow == 3
    assert settings.sqlalchemy.postgres_pool_size == 4
    assert settings.plugins.enabled == ("b",)


def test_a_variable_sets_one_key_and_leaves_the_others_of_its_section(tmp_path, monkeypatch):
    write(tmp_path / "config.toml", "[session]\nhttps_only = true\nsecret = 'from the file'\n")
    monkeypatch.setenv("QUETZ_SESSION_HTTPS_ONLY", "off")

    session = load_settings(tmp_path).session

    assert not session.https_only
    assert session.secret.get_secret_value() == "from the file"


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        pytest.param('"5/second"', "5/second", id="rate"),
        pytest.param('""', "", id="empty"),
        pytest.param('"0"', "", id="zero"),
        pytest.param("0", "", id="number"),
    ],
)
def test_a_rate_may_be_off(tmp_path, text, rate):
    write(tmp_path / "config.toml", f"[limits]\nsearches = {text}\n")

    assert load_settings(tmp_path).limits.searches == rate


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("allow_origins = ['*']", "name the origins", id="all sites by default"),
        pytest.param(
            "allow_origins = ['https://a.example', '*']\nallow_credentials = true",
            "would let the pages of every site act",
            id="all sites with credentials",
        ),
        pytest.param("allow_origins = ['a.example']", "is not an origin", id="no scheme"),
        pytest.param("allow_origins = ['https://a.example/']", "not an origin", id="path"),
    ],
)
def test_sites_that_must_not_be_trusted_are_refused_with_a_sentence(tmp_path, text, reason):
    write(tmp_path / "config.toml", f"[cors]\n{text}\n")

    assert "config.toml': [cors] allow_origins: " in refusal(tmp_path)
    assert reason in refusal(tmp_path)


def test_a_bad_rate_is_refused_with_an_example(tmp_path):
    for rate in ("'often'", "'-1/minute'", "5", "'1/year'", "[1]", "true"):
        write(tmp_path / "config.toml", f"[limits]\nuploads = {rate}\n")
        assert "write it as 100/minute" in refusal(tmp_path), rate


@pytest.mark.parametrize(
    ("value", "names"),
    [
        pytest.param("a, b", ("a", "b"), id="with commas"),
        pytest.param('["a", "b"]', ("a", "b"), id="as JSON"),
        pytest.param("", (), id="empty"),
    ],
)
def test_a_variable_can_hold_a_list(tmp_path, monkeypatch, value, names):
    monkeypatch.setenv("QUETZ_PLUGINS_ENABLED", value)

    assert load_settings(tmp_path).plugins.enabled == names


def test_the_short_variable_sets_the_log_level_in_any_case(tmp_path, monkeypatch):
    monkeypatch.setenv("QUETZ_LOG_LEVEL", "debug")

    assert load_settings(tmp_path).logging.level == "DEBUG"


@pytest.mark.parametrize(
    "name", ["QUETZ_API_KEY", "QUETZ_SERVER_URL", "QUETZ_SESSION", "QUETZ_GENERAL_COLOUR"]
)
def test_variables_that_are_not_settings_are_ignored(tmp_path, monkeypatch, name):
    monkeypatch.setenv(name, "anything")

    assert load_settings(tmp_path) == Settings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "[general]\ndevv = true",
            "unknown key [general] devv; did you mean 'dev'?",
            id="misspelt key",
        ),
        pytest.param(
            "[sqlalchmey]\necho_sql = true",
            "unknown section [sqlalchmey]; did you mean 'sqlalchemy'?",
            id="misspelt section",
        ),
        pytest.param(
            "general = 3", "'general' is a section; write it as [general]", id="section as a value"
        ),
        pytest.param(
            "[sqlalchemy]\ndatabase_plugin_path = ''",
            "[sqlalchemy] database_plugin_path is no longer a setting: "
            "plugins are listed in [plugins] enabled; remove it",
            id="replaced key",
        ),
        pytest.param(
            "[s3]\nbucket_name = 'x'",
            "[s3] is not supported by this version, which keeps packages on local disk only; "
            "remove the section to accept that",
            id="another store",
        ),
        pytest.param(
            "[limits]\nupload_size = -1",
            "[limits] upload_size: Input should be greater than or equal to 0",
            id="value out of range",
        ),
        pytest.param(
            "[users]\nadmins = ['github:x', 'alice']",
            "[users] admins: an entry has no provider or no username; write provider:username",
            id="list of users",
        ),
        pytest.param(
            "[users]\ndefault_role = 'king'",
            "[users] default_role: Input should be 'owner', 'maintainer' or 'member'",
            id="value not of the list",
        ),
        pytest.param(
            "[sqlalchemy]\non_mismatch = 'hope'",
            "[sqlalchemy] on_mismatch: Input should be 'refuse', 'wait', 'migrate' or 'ignore'",
            id="answer that there is not",
        ),
        pytest.param(
            "[migrations]\nbackups_kept = 0",
            "[migrations] backups_kept: Input should be greater than or equal to 1",
            id="no backup kept",
        ),
        pytest.param(
            "[proxy]\ntrusted_hosts = ['10.0.0.1/8']",
            "[proxy] trusted_hosts: 10.0.0.1/8 has host bits set",
            id="malformed network",
        ),
        pytest.param(
            "[local_store]\nredirect_endpoint = 'https://files.example/'",
            "[local_store] redirect_endpoint: it is not a path of the same nginx, such as /files",
            id="no path of this server",
        ),
    ],
)
def test_a_mistake_is_named_with_its_file(tmp_path, text, message):
    file = write(tmp_path / "config.toml", text)

    assert refusal(tmp_path) == f"'{file}': {message}"


def test_a_bad_value_is_blamed_on_the_file_that_set_it_last(tmp_path):
    user = write(
        tmp_path / "XDG_CONFIG_HOME" / "quetz" / "config.toml", "[limits]\nupload_size = ''"
    )
    write(tmp_path / "config.toml", "[quotas]\nchannel_quota = 1")

    assert refusal(tmp_path).startswith(f"'{user}': [limits] upload_size: ")


def test_a_bad_value_is_blamed_on_its_variable(tmp_path, monkeypatch):
    write(tmp_path / "config.toml", "[limits]\nupload_size = 1")
    monkeypatch.setenv("QUETZ_LIMITS_UPLOAD_SIZE", "much")

    assert refusal(tmp_path).startswith("the variable QUETZ_LIMITS_UPLOAD_SIZE: ")


def test_a_syntax_error_is_named_with_file_and_line(tmp_path):
    file = write(tmp_path / "config.toml", "[general]\ndev = true\n\ndev true\n")

    message = refusal(tmp_path)

    assert message.startswith(f"'{file}' is not TOML: ")
    assert "at line 4" in message


def test_a_file_that_is_not_text_is_named(tmp_path):
    file = tmp_path / "config.toml"
    file.write_bytes(b"[general]\n# \xff\n")

    assert refusal(tmp_path) == f"'{file}' is not UTF-8 text"


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    file = tmp_path / "config.toml"
    file.mkdir()

    assert refusal(tmp_path) == f"'{file}' cannot be read: Is a directory"


def test_the_file_named_by_the_variable_must_exist(tmp_path, monkeypatch):
    monkeypatch.setenv("QUETZ_CONFIG_FILE", "nowhere.toml")

    assert refusal(tmp_path) == "'nowhere.toml', named by QUETZ_CONFIG_FILE, does not exist"


def test_a_variable_of_another_store_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("QUETZ_S3_ACCESS_KEY", SECRET)

    message = refusal(tmp_path)

    assert "QUETZ_S3_ACCESS_KEY is not supported" in message
    assert SECRET not in message


@pytest.mark.parametrize(
    ("text", "what"),
    [
        pytest.param("[github]\nclient_id = 'x'", "[github]", id="section"),
        pytest.param("[users]\ncollect_emails = true", "[users] collect_emails", id="key"),
    ],
)
def test_what_this_version_does_not_use_is_accepted_with_a_warning(tmp_path, caplog, text, what):
    file = write(tmp_path / "config.toml", text)

    with caplog.at_level(logging.WARNING):
        settings = load_settings(tmp_path)

    assert settings == Settings()
    assert caplog.messages == [f"'{file}': {what} is not used by this version"]


@pytest.mark.parametrize("section", ["foo_bar", "quetz-foo-bar", "quetz_foo_bar"])
def test_an_enabled_plugin_may_have_a_section(tmp_path, section):
    write(tmp_path / "config.toml", f"[plugins]\nenabled = ['quetz-foo_bar']\n[{section}]\nx = 1\n")

    assert load_settings(tmp_path).plugins.enabled == ("quetz-foo_bar",)


@pytest.mark.parametrize("value", ["quetz-tab,other", '["quetz-tab", "other"]'])
def test_a_plugin_that_a_variable_enables_may_have_a_section(tmp_path, monkeypatch, value):
    write(tmp_path / "config.toml", "[tab]\nx = 1\n")
    monkeypatch.setenv("QUETZ_PLUGINS_ENABLED", value)

    assert load_settings(tmp_path).plugins.enabled == ("quetz-tab", "other")


def test_a_list_that_a_variable_mistypes_is_blamed_on_the_variable(tmp_path, monkeypatch):
    write(tmp_path / "config.toml", "[tab]\nx = 1\n")
    monkeypatch.setenv("QUETZ_PLUGINS_ENABLED", '["quetz-tab"')

    assert refusal(tmp_path).startswith("the variable QUETZ_PLUGINS_ENABLED: ")


@pytest.fixture
def installed_plugin(tmp_path, monkeypatch):
    """A distribution with a plugin ``quetz-foo``."""
    metadata = tmp_path / "site" / "quetz_foo-1.0.dist-info"
    write(metadata / "METADATA", "Metadata-Version: 2.1\nName: quetz-foo\nVersion: 1.0\n")
    write(metadata / "entry_points.txt", "[quetz]\nquetz-foo = quetz_foo\n")
    monkeypatch.syspath_prepend(tmp_path / "site")


@pytest.mark.usefixtures("installed_plugin")
def test_an_installed_plugin_may_have_a_section(tmp_path, caplog):
    write(tmp_path / "config.toml", "[foo]\nx = 1\n")

    load_settings(tmp_path)

    assert caplog.messages == []


@pytest.mark.usefixtures("installed_plugin")
def test_the_section_of_a_plugin_that_is_off_is_a_warning(tmp_path, caplog):
    file = write(tmp_path / "config.toml", "[plugins]\nenabled = ['bar']\n[foo]\nx = 1\n")

    load_settings(tmp_path)

    assert caplog.messages == [f"'{file}': [foo] belongs to a plugin that is not enabled"]


@pytest.mark.usefixtures("installed_plugin")
def test_a_variable_decides_which_plugins_are_off(tmp_path, monkeypatch, caplog):
    file = write(tmp_path / "config.toml", "[plugins]\nenabled = ['foo']\n[foo]\nx = 1\n")
    monkeypatch.setenv("QUETZ_PLUGINS_ENABLED", '["bar"]')

    load_settings(tmp_path)

    assert caplog.messages == [f"'{file}': [foo] belongs to a plugin that is not enabled"]


@pytest.mark.parametrize("key", ["database_url", "migration_url", "echo_sql"])
def test_secrets_are_in_neither_representation_nor_errors(tmp_path, key):
    url = f"postgresql://quetz:{SECRET}@localhost/quetz"
    write(
        tmp_path / "config.toml",
        f"[sqlalchemy]\ndatabase_url = '{url}'\nmigration_url = '{url}'\n"
        f"[session]\nsecret = '{SECRET}'\n[local_store]\nredirect_secret = '{SECRET}'\n",
    )
    write(tmp_path / "bad" / "config.toml", f"[sqlalchemy]\n{key} = ['{SECRET}']\n")

    settings = load_settings(tmp_path)
    message = refusal(tmp_path / "bad")

    assert settings.sqlalchemy.database_url.get_secret_value() == url
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump()} {message}"
    assert key in message


def test_settings_cannot_be_changed(tmp_path):
    settings = load_settings(tmp_path)

    with pytest.raises(ValueError, match="frozen"):
        settings.general.dev = True


def test_the_reference_explains_every_setting():
    reference = REFERENCE.read_text(encoding="utf-8")
    missing = [row for section in SECTIONS for row in rows(section) if row not in reference]

    assert missing == []


def rows(section: str) -> list[str]:
    """Return what the reference must hold of a section: its heading and a row for each key."""
    title = Settings.model_fields[section].description
    lines = [f"## [{section}]\n\n{title}\n"]
    for key, field in SECTIONS[section].model_fields.items():
        default = field.get_default()
        if hasattr(default, "get_secret_value"):
            default = default.get_secret_value()
        assert field.description, f"[{section}] {key} has no description"
        lines.append(f"| `{key}` | {in_toml(default)} | {field.description} |\n")
    return lines


def in_toml(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{value}`".lower()
    if isinstance(value, tuple):
        return f"`{list(value)}`".replace("'", '"')
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"
