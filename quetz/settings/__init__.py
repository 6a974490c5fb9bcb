"""Settings: one frozen model, read from TOML files and the environment.

The files of the site, the user, the deployment and ``$QUETZ_CONFIG_FILE`` are merged key by
key, a later one wins; then comes ``QUETZ_<SECTION>_<KEY>`` from the environment. Files are
strict: a misspelt key is an error. The environment is not, for clients read ``QUETZ_`` variables
of their own there.
"""

import logging
import os
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from quetz.errors import BadConfig
from quetz.settings.sections import (
    Cors,
    General,
    Keys,
    Limits,
    LocalStore,
    Logging,
    Migrations,
    Plugins,
    Proxy,
    Quotas,
    Section,
    Session,
    SqlAlchemy,
    Storage,
    Users,
)

CONFIG_FILE = "config.toml"
SITE_FILE = Path("/etc/quetz", CONFIG_FILE)

_log = logging.getLogger(__name__)


Files = list[tuple[Path, dict[str, Any]]]
"""Paths and contents, the weakest first."""


class _Environment(EnvSettingsSource):
    def get_field_value(self, _field: FieldInfo, field_name: str) -> tuple[None, str, bool]:
        # A variable named like a section is not ours: a key is set, never a section.
        return None, field_name, True

    def __call__(self) -> dict[str, Any]:
        values = super().__call__()
        if level := os.environ.get("QUETZ_LOG_LEVEL"):
            values.setdefault("logging", {})["level"] = level
        return values


class Settings(BaseSettings):
    """All settings; ``load_settings`` makes it."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
        env_prefix="QUETZ_",
        env_nested_delimiter="_",
        env_nested_max_split=1,
    )

    general: General = Field(default=General(), description="The deployment as a whole.")
    sqlalchemy: SqlAlchemy = Field(default=SqlAlchemy(), description="The database.")
    migrations: Migrations = Field(
        default=Migrations(), description="Changes of the database's schema."
    )
    session: Session = Field(default=Session(), description="Logins of browsers.")
    keys: Keys = Field(default=Keys(), description="API keys.")
    cors: Cors = Field(default=Cors(), description="Pages of other sites.")
    limits: Limits = Field(default=Limits(), description="What may be sent, and how often.")
    logging: Logging = Field(default=Logging(), description="The log.")
    users: Users = Field(default=Users(), description="New users.")
    quotas: Quotas = Field(default=Quotas(), description="Room for packages.")
    storage: Storage = Field(
        default=Storage(), description="Bytes of packages that nothing refers to any more."
    )
    plugins: Plugins = Field(default=Plugins(), description="Plugins.")
    proxy: Proxy = Field(default=Proxy(), description="Reverse proxies in front of the server.")
    local_store: LocalStore = Field(
        default=LocalStore(), description="Files that nginx sends in place of the server."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # replaced by _Environment
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # not used
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # not used
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return _Environment(settings_cls), init_settings


SECTIONS: dict[str, type[Section]] = {
    name: field.annotation
    for name, field in Settings.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
}

# Entry points by which a plugin is known; a plugin may have a section of its own.
PLUGIN_GROUPS = ("quetz", "quetz.models", "quetz.migrations", "quetz.authenticator")

# Object stores that this version lacks: without an error, packages would go elsewhere.
_REFUSED = ("s3", "azure_blob", "gcs")

_NOT_USED_SECTIONS = (
    "azuread",
    "github",
    "gitlab",
    "google",
    "jupyterhubauthenticator",
    "mirroring",
    "pamauthenticator",
    "profiling",
    "worker",
)
_NOT_USED_KEYS = {
    "users": ("collect_emails",),
}
_REPLACED_KEYS = {
    ("general", "package_unpack_threads"): "the server sets its threads by itself",
    ("general", "redirect_http_to_https"): "let the reverse proxy redirect",
    ("sqlalchemy", "database_plugin_path"): "plugins are listed in [plugins] enabled",
}


def load_settings(deployment: Path) -> Settings:
    """Read the settings of the deployment in the folder ``deployment``.

    Raises:
        BadConfig: a file or a variable breaks a rule; the message holds no value.
    """
    files = list(_read_files(deployment))
    enabled = _enabled_plugins(files)
    merged: dict[str, dict[str, Any]] = {}
    for path, content in files:
        for section, keys in content.items():
            _check_section(path, section, keys, enabled)
            merged.setdefault(section, {}).update(keys)
    _refuse_variables()
    return _checked(merged, files)


def _checked(merged: dict[str, dict[str, Any]], files: Files) -> Settings:
    try:
        return Settings(**merged)  # type: ignore[arg-type]  # pydantic makes the sections
    except ValidationError as error:
        raise BadConfig(_describe(error, files)) from None


def _read_files(deployment: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    explicit = os.environ.get("QUETZ_CONFIG_FILE")
    for path in (*_usual_files(), deployment / CONFIG_FILE):
        content = _read_file(path)
        if content is not None:
            yield path, content
    if explicit:
        content = _read_file(Path(explicit))
        if content is None:
            raise BadConfig(f"'{explicit}', named by QUETZ_CONFIG_FILE, does not exist")
        yield Path(explicit), content


def _usual_files() -> Iterator[Path]:
    """Yield the files of the site and the user, the weakest first (XDG Base Directory)."""
    yield SITE_FILE
    folders = (os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111  # Path.home() raises where there is none
    for folder in (*reversed(folders), home):
        yield Path(folder, "quetz", CONFIG_FILE)


def _read_file(path: Path) -> dict[str, Any] | None:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise BadConfig(f"'{path}' cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadConfig(f"'{path}' is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise BadConfig(f"'{path}' is not TOML: {error}") from None


def _check_section(path: Path, section: str, keys: object, enabled: set[str]) -> None:
    if section in _REFUSED:
        raise BadConfig(
            f"'{path}': [{section}] is not supported by this version, which keeps packages on "
            "local disk only; remove the section to accept that"
        )
    if section in _NOT_USED_SECTIONS:
        _log.warning("'%s': [%s] is not used by this version", path, section)
    elif section in SECTIONS:
        _check_keys(path, section, keys)
    elif spelt(section) not in enabled:
        _check_other_section(path, section, enabled)
    if not isinstance(keys, dict):
        raise BadConfig(f"'{path}': '{section}' is a section; write it as [{section}]")


def _check_keys(path: Path, section: str, keys: object) -> None:
    known = SECTIONS[section].model_fields
    for key in keys if isinstance(keys, dict) else ():
        if replacement := _REPLACED_KEYS.get((section, key)):
            raise BadConfig(
                f"'{path}': [{section}] {key} is no longer a setting: {replacement}; remove it"
            )
        if key in _NOT_USED_KEYS.get(section, ()):
            _log.warning("'%s': [%s] %s is not used by this version", path, section, key)
        elif key not in known:
            raise BadConfig(f"'{path}': unknown key [{section}] {key}{_nearest(key, known)}")


def _check_other_section(path: Path, section: str, enabled: set[str]) -> None:
    if spelt(section) not in _installed_plugins():
        raise BadConfig(f"'{path}': unknown section [{section}]{_nearest(section, SECTIONS)}")
    if enabled:
        _log.warning("'%s': [%s] belongs to a plugin that is not enabled", path, section)


def _nearest(name: str, known: Mapping[str, object]) -> str:
    return f"; did you mean '{get_close_matches(name, known, n=1, cutoff=0)[0]}'?"


def _enabled_plugins(files: Files) -> set[str]:
    """Return what will be in force: the variable, or the last file that has the key."""
    sections = [content.get("plugins") for _, content in files]
    keys = [section for section in sections if isinstance(section, dict) and "enabled" in section]
    merged = {"plugins": {"enabled": keys[-1]["enabled"]}} if keys else {}
    return {spelt(name) for name in _checked(merged, files).plugins.enabled}


def _installed_plugins() -> set[str]:
    points = [point for group in PLUGIN_GROUPS for point in entry_points(group=group)]
    return {spelt(point.name) for point in points}


def spelt(name: str) -> str:
    """Return the one spelling of a plugin's names ``quetz-foo_bar`` and ``foo-bar``."""
    return name.strip().lower().replace("-", "_").removeprefix("quetz_")


def _refuse_variables() -> None:
    prefixes = tuple(f"QUETZ_{section.upper()}_" for section in _REFUSED)
    for name in os.environ:
        if name.startswith(prefixes):
            raise BadConfig(
                f"the variable {name} is not supported by this version, which keeps packages on "
                "local disk only; unset it to accept that"
            )


def _describe(error: ValidationError, files: Files) -> str:
    """Say where the first bad value comes from, and what is wrong with it; not the value."""
    first = error.errors(include_input=False, include_url=False)[0]
    section, key = (str(part) for part in first["loc"][:2])
    message = first["msg"].removeprefix("Value error, ")
    variable = _variable_of(section, key)
    if variable:
        return f"the variable {variable}: {message}"
    path = next(path for path, content in reversed(files) if key in content.get(section, {}))
    return f"'{path}': [{section}] {key}: {message}"


def _variable_of(section: str, key: str) -> str | None:
    names = [f"QUETZ_{section}_{key}".upper()]
    if (section, key) == ("logging", "level"):
        names.insert(0, "QUETZ_LOG_LEVEL")
    return next((name for name in os.environ if name.upper() in names), None)
