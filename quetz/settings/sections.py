"""The sections of the settings, one frozen model each."""

import json
import re
from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)
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
Days = Annotated[int, Field(ge=0, le=36_500)]
_ORIGIN = re.compile(r"https?://[A-Za-z0-9._-]+(:[0-9]+)?|https?://\[[0-9a-fA-F:.]+\](:[0-9]+)?")


OWN_PATHS = frozenset({
    "api", "auth", "docs", "get", "health", "metrics", "metricsp", "openapi.json", "t",
})  # fmt: skip
"""What paths of the server itself begin with: nothing else may be served there."""


def _as_rate(value: object) -> object:
    if value in (0, "0", ""):  # a tuple: what else it may be has no hash
        return ""
    if re.fullmatch(r"[1-9][0-9]{0,8}/(second|minute|hour|day)", str(value)) is None:
        raise ValueError("write it as 100/minute, or per second, hour or day; 0 for no limit")
    return value


Rate = Annotated[str, BeforeValidator(_as_rate)]
"""Such as ``100/minute``; empty for any number."""


class Section(BaseModel):
    # What the files may hold is checked before; a variable may be a client's.
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class General(Section):
    dev: bool = Field(
        default=False,
        description="A deployment to try things out: users log in without a password. "
        "`quetz create --dev` sets it; such a server listens on this machine only, "
        "and answers nobody through a proxy.",
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


class Keys(Section):
    default_days: Days = Field(
        default=90,
        description="How many days a new API key is good for whose maker does not say; 0 for "
        "ever. Not more than `max_days`. Keys that are made together with a user do not expire.",
    )
    max_days: Days = Field(
        default=0,
        description="The most days that users may make an API key for; 0 for no limit. Commands "
        "are not bound by it, and keys that exist stay as they are.",
    )


class Limits(Section):
    upload_size: Bytes = Field(
        default=8 * 2**30, description="The largest package file that is taken, in bytes."
    )
    key_failures: Rate = Field(
        default="100/minute",
        description="Requests with an unknown or dead API key that one address may send; more "
        "are answered with 429. Only those count that are answered with 401: requests with a good "
        "key never do, and neither does reading what is public.",
    )
    searches: Rate = Field(
        default="300/minute",
        description="Searches of one user, or of one address where nobody is logged in.",
    )
    uploads: Rate = Field(
        default="6000/minute", description="Requests of one user that upload packages."
    )
    leaked_keys: Rate = Field(
        default="30/minute",
        description="Requests of one address to revoke leaked API keys.",
    )


class Cors(Section):
    allow_credentials: bool = Field(
        default=True,
        description="Let pages of these origins use the login cookie of their visitor, where the "
        "browser sends it.",
    )
    allow_origins: Names = Field(
        default=(),
        description="The origins, such as `https://pages.example`, whose pages may read answers "
        "of this server; `*` for all, which needs `allow_credentials = false`.",
    )
    allow_methods: Names = Field(
        default=("*",), description="The methods that such pages may use; `*` for all."
    )
    allow_headers: Names = Field(
        default=("*",), description="The headers that such pages may send; `*` for all."
    )

    @field_validator("allow_origins")
    @classmethod
    def _check_origins(cls, origins: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if "*" in origins and info.data.get("allow_credentials"):
            raise ValueError(
                "'*' would let the pages of every site act as their visitor: set "
                "allow_credentials = false, or name the origins"
            )
        for origin in origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(f"'{origin}' is not an origin such as https://pages.example:8443")
        return origins


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
    admins: Names = Field(
        default=(),
        description="Who becomes owner of the server: a list of `<provider>:<username>`, or of "
        "`<provider>:sub:<id>` by the provider's own id of a person. These three lists count at "
        "the first login, and when `quetz add-user-roles` is run.",
    )
    maintainers: Names = Field(default=(), description="Who becomes maintainer of the server.")
    members: Names = Field(default=(), description="Who becomes member of the server.")
    default_role: Literal["owner", "maintainer", "member"] | None = Field(
        default=None, description="The server role of new users; without one they have none."
    )
    create_default_channel: bool = Field(
        default=False,
        description="Make a private channel named after each user at the first login, unless the "
        "name is taken or no channel may be called so.",
    )

    @field_validator("admins", "maintainers", "members")
    @classmethod
    def _check_entries(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        for entry in entries:
            provider, _, username = entry.partition(":")
            if not provider or not username:
                raise ValueError("an entry has no provider or no username; write provider:username")
        return entries


class Quotas(Section):
    channel_quota: Bytes | None = Field(
        default=None, description="The size limit of new channels, in bytes."
    )


class Storage(Section):
    soft_delete_channel: bool = Field(
        default=False,
        description="Keep the bytes of the packages in channels that are deleted, for good.",
    )
    soft_delete_package: bool = Field(
        default=False,
        description="Keep the bytes of all files of packages that are deleted, for good. A "
        "deletion of one version is none of a package.",
    )
    object_grace_days: int = Field(
        default=30,
        ge=1,
        le=36_500,
        description="How many days the bytes of a package are kept that no channel has any more.",
    )


class Plugins(Section):
    enabled: Names = Field(
        default=(), description="The plugins to load; an empty list loads all that are installed."
    )


class LocalStore(Section):
    redirect_enabled: bool = Field(
        default=False,
        description="Let an nginx in front of the server send packages and large indexes from "
        "the store's folder; it has to be configured for that: [nginx](../nginx.md).",
    )
    redirect_endpoint: str = Field(
        default="/files",
        description="The path at which that nginx serves the store's folder.",
    )
    redirect_secret: SecretStr = Field(
        default=SecretStr(""),
        description="The secret in nginx's `secure_link_md5`: clients are sent to a link that "
        "expires, except for what is private. Empty for `X-Accel-Redirect`, with which no client "
        "sees that path.",
    )
    redirect_expiration: int = Field(
        default=60,
        ge=1,
        le=300,
        description="How many seconds such a link is good for, at most 300: whoever has it needs "
        "no right meanwhile.",
    )

    @field_validator("redirect_endpoint")
    @classmethod
    def _check_endpoint(cls, path: str) -> str:
        parts = path.strip("/").split("/")
        if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+/?", path) or not {".", ".."}.isdisjoint(parts):
            raise ValueError("it is not a path of the same nginx, such as /files")
        if parts[0] in OWN_PATHS:
            raise ValueError(f"/{parts[0]} is the server's own; name another path, such as /files")
        return path


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
