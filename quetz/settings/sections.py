"""The sections of the settings, one frozen model each."""

import json
from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import NoDecode


def _as_list(value: object) -> object:
    """Split what a variable holds: ``a,b`` or a JSON list."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [part.strip() for part in value.split(",") if part.strip()]


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


# NoDecode: pydantic-settings would take nothing but JSON for a list.
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_as_list)]
LogLevel = Annotated[
    Literal["CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG", "TRACE"], BeforeValidator(_upper)
]
Bytes = Annotated[int, Field(ge=0)]


class Section(BaseModel):
    # What the files may hold is checked before; a variable may be a client's.
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class General(Section):
    dev: bool = Field(
        default=False,
        description="A deployment to try things out: users log in without a password. "
        "`quetz create --dev` sets it; such a server listens on this machine only.",
    )
    frontend_dir: str = Field(
        default="",
        description="A folder that holds a built frontend, relative to the deployment: its files "
        "are served at `/`, and its `index.html` for every page that has no dot in its name.",
    )


class SqlAlchemy(Section):
    database_url: SecretStr = Field(
        default=SecretStr("sqlite:///quetz.sqlite"),
        description="Where the database is: `sqlite:///<file>`, relative to the deployment, or "
        "`postgresql://<user>:<password>@<host>:<port>/<database>`. Write the characters "
        "`@ : / %` of a password as `%40 %3A %2F %25`.",
    )
    echo_sql: bool = Field(default=False, description="Log every SQL statement, without values.")
    postgres_pool_size: int = Field(
        default=10, ge=1, description="Connections that each server process keeps open."
    )
    postgres_max_overflow: int = Field(
        default=100, ge=0, description="Connections that a process may open beyond its pool."
    )
    on_mismatch: Literal["refuse", "wait", "migrate", "ignore"] = Field(
        default="refuse",
        description="What a server or a command does if the database lacks migrations of this "
        "version: `refuse` to start; `wait` up to ten minutes until somebody applies them; "
        "`migrate`, as `quetz init-db` does; or `ignore` it, with a warning.",
    )
    migration_url: SecretStr | None = Field(
        default=None,
        description="How to reach the database of `database_url` for migrations and backups, "
        "where that one leads through a pooler that hands out a connection for each transaction "
        "(PgBouncer): a `postgresql://` URL that leads to the server itself.",
    )


class Migrations(Section):
    backup_dir: str = Field(
        default="backups",
        min_length=1,
        description="The folder of the backups that are made before migrations, relative to the "
        "deployment. Whoever can read them can read the database.",
    )
    backups_kept: int = Field(
        default=5, ge=1, description="How many backups are kept; older ones are removed."
    )


class Session(Section):
    secret: SecretStr = Field(
        default=SecretStr(""),
        description="A random text of the deployment's own. Login sessions are kept in the "
        "database and do not depend on it.",
    )
    https_only: bool = Field(
        default=True,
        description="Send the login cookie over https only. With true, nobody can stay logged "
        "in over plain http.",
    )


class Limits(Section):
    upload_size: Bytes = Field(
        default=8 * 2**30, description="The largest package file that is taken, in bytes."
    )


class Logging(Section):
    level: LogLevel = Field(
        default="INFO",
        description="The least severe messages that are logged. Requests are logged from INFO "
        "on. `QUETZ_LOG_LEVEL` and `quetz start --log-level` override it.",
    )
    file: str = Field(
        default="",
        description="A file that gets the log besides standard error, relative to the deployment.",
    )


class Users(Section):
    default_role: Literal["owner", "maintainer", "member"] | None = Field(
        default=None, description="The server role of new users; without one they have none."
    )


class Quotas(Section):
    channel_quota: Bytes | None = Field(
        default=None, description="The size limit of new channels, in bytes."
    )


class Plugins(Section):
    enabled: Names = Field(
        default=(), description="The plugins to load; an empty list loads all that are installed."
    )


class Proxy(Section):
    trusted_hosts: Names = Field(
        default=("127.0.0.1", "::1"),
        description="Addresses or networks of the reverse proxies whose `X-Forwarded-For` and "
        "`X-Forwarded-Proto` are believed; `*` believes everyone.",
    )

    @field_validator("trusted_hosts")
    @classmethod
    def _check_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if host != "*":
                ip_network(host)  # raises ValueError, which says what is wrong
        return hosts
