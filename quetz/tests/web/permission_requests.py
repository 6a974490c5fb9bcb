"""The permission matrix as HTTP requests: for each operation, what a client sends to do it.

Placeholders in braces are filled in for whom and where it is asked: ``{channel}`` is the channel
of the cell, ``{me}`` who asks, ``{my_key}`` an API key of his; all other names are of the world
in ``permission_world.py``.
"""

from dataclasses import dataclass
from typing import Any

from quetz.services.operations import Operation


@dataclass(frozen=True)
class Ask:
    """One request.

    ``package`` names a package file of the world that is the body, or a file of the form.
    What ``shows`` names is in the answer to who may, and in no other's: such an answer is 200
    for everyone. ``refused`` are the statuses of a refusal to who is known. With ``writes_to``
    the request changes a channel apart from that of the cell, in which whoever may change
    anything at all is a maintainer.
    """

    method: str
    path: str
    json: Any = None
    package: str | None = None
    form: bool = False
    force: bool = False
    shows: str | None = None
    refused: frozenset[int] = frozenset({403})
    writes_to: str | None = None

    @property
    def changes(self) -> bool:
        return self.method not in {"GET", "HEAD"}


def get(path: str, shows: str | None = None) -> Ask:
    return Ask("GET", path, shows=shows)


def post(path: str, json: Any = None, **more: Any) -> Ask:
    return Ask("POST", path, json, **more)


def delete(path: str, **more: Any) -> Ask:
    return Ask("DELETE", path, **more)


CHANNEL = "/api/channels/{channel}"
PACKAGE = f"{CHANNEL}/packages/pkg"
FILE = "noarch/pkg-1.0-0.conda"
VERSION = f"{PACKAGE}/versions/{FILE}"
VERSION_ROUTE = f"{CHANNEL}/packages/{{package}}/versions/{{platform}}/{{filename}}"
USER = "/api/users"
HIDING = frozenset({403, 404})


def uploads(filename: str, *, force: bool = False) -> tuple[Ask, ...]:
    """Send a file by each route that takes one."""
    raw = f"{CHANNEL}/upload/{filename}{'?force=true' if force else ''}"
    return (
        post(raw, package=filename),
        post(f"{CHANNEL}/files/", package=filename, form=True, force=force),
    )


REQUESTS: dict[str, tuple[Ask, ...]] = {
    "channel.read": (get(CHANNEL),),
    "channel.download_file": (
        get("/get/{channel}/noarch/pkg-1.0-0.conda"),
        Ask("HEAD", "/get/{channel}/noarch/pkg-1.0-0.conda"),
    ),
    "channel.repodata": (
        get("/get/{channel}/noarch/repodata.json"),
        get("/get/{channel}/noarch/repodata.json.zst"),
        get("/get/{channel}/noarch/repodata_shards.msgpack.zst"),
        get("/get/{channel}/channeldata.json"),
        get("/get/{channel}/notices.json"),
    ),
    "channel.index_html": (get("/get/{channel}/index.html"), get("/get/{channel}")),
    "channel.list_packages": (
        get(f"{CHANNEL}/packages"),
        get("/api/paginated/channels/{channel}/packages"),
        get("/api/cursor/channels/{channel}/packages"),
    ),
    "channel.metrics": (get("/metrics/channels/{channel}"),),
    "channel.changes": (get(f"{CHANNEL}/changes"),),
    "package.read": (get(PACKAGE),),
    "package.versions": (
        get(f"{PACKAGE}/versions"),
        get("/api/paginated/channels/{channel}/packages/pkg/versions"),
        get("/api/cursor/channels/{channel}/packages/pkg/versions"),
    ),
    "version.read": (get(VERSION), get(f"{VERSION}/yank")),
    "version.metrics": (get(f"/metrics/channels/{{channel}}/packages/pkg/versions/{FILE}"),),
    "version.run_exports": (get(f"{VERSION}/run_exports"),),
    "channel.mirrors.list": (get(f"{CHANNEL}/mirrors"),),
    "search.packages": (get("/api/packages/search/?q=pkg", shows='"{channel}"'),),
    "search.channels": (get("/api/channels/search/?q={channel}", shows='"{channel}"'),),
    "list.channels": (
        get("/api/channels?q={channel}", shows='"{channel}"'),
        get("/api/paginated/channels?q={channel}", shows='"{channel}"'),
        get("/api/cursor/channels?q={channel}", shows='"{channel}"'),
    ),
    "package.members.list": (get(f"{PACKAGE}/members"),),
    "channel.members.list": (get(f"{CHANNEL}/members"),),
    "channel.create": (post("/api/channels", {"name": "fresh"}),),
    "channel.patch": (Ask("PATCH", CHANNEL, {"ttl": 60}),),
    "channel.make_public": (Ask("PATCH", CHANNEL, {"private": False}),),
    "channel.set_size_limit": (Ask("PATCH", CHANNEL, {"size_limit": 1 << 40}),),
    "channel.delete": (delete(CHANNEL),),
    "channel.members.add/member": (
        post(f"{CHANNEL}/members", {"username": "newcomer", "role": "member"}),
    ),
    "channel.members.add/owner": (
        post(f"{CHANNEL}/members", {"username": "newcomer", "role": "owner"}),
    ),
    "channel.members.remove": (delete(f"{CHANNEL}/members?username=bystander"),),
    "channel.mirrors.register": (
        post(f"{CHANNEL}/mirrors", {"url": "https://mirror.example/get/{channel}"}),
    ),
    "channel.mirrors.delete": (delete(f"{CHANNEL}/mirrors/{{mirror}}"),),
    "package.create": (post(f"{CHANNEL}/packages", {"name": "fresh"}),),
    "package.delete": (delete(PACKAGE),),
    "package.members.add/member": (
        post(f"{PACKAGE}/members", {"username": "newcomer", "role": "member"}),
    ),
    "package.members.add/owner": (
        post(f"{PACKAGE}/members", {"username": "newcomer", "role": "owner"}),
    ),
    "package.members.remove": (delete(f"{PACKAGE}/members?username=bystander"),),
    "file.upload/existing": (
        *uploads("pkg-2.0-0.conda"),
        post(f"{PACKAGE}/files/", package="pkg-2.0-0.conda", form=True),
    ),
    "file.upload/new": uploads("fresh-1.0-0.conda"),
    "file.overwrite": (
        *uploads("pkg-1.0-0.conda", force=True),
        post(f"{PACKAGE}/files/", package="pkg-1.0-0.conda", form=True, force=True),
    ),
    # Whoever may delete a version may yank it.
    "version.delete": (delete(VERSION), post(f"{VERSION}/yank")),
    "package.copy": (
        post(
            f"{CHANNEL}/packages/copy?source_channel=source&source_package=other&subdir=noarch"
            "&filename=other-1.0-0.conda"
        ),
    ),
    "package.copy_from": (
        post(
            "/api/channels/target/packages/copy?source_channel={channel}&source_package=pkg"
            "&subdir=noarch&filename=pkg-1.0-0.conda",
            writes_to="target",
        ),
    ),
    "users.list_all": (
        get(USER, shows='"bystander"'),
        get("/api/paginated/users?limit=100", shows='"bystander"'),
        get("/api/service-accounts"),
    ),
    "users.read_other": (
        get(f"{USER}/bystander"),
        get(f"{USER}/bystander/role"),
        get(f"{USER}/bystander/channels"),
        get(f"{USER}/bystander/packages"),
        get("/api/paginated/users/bystander/channels"),
        get("/api/paginated/users/bystander/packages"),
    ),
    "users.read_self": (
        get(f"{USER}/{{me}}"),
        get(f"{USER}/{{me}}/role"),
        get(f"{USER}/{{me}}/channels"),
        get(f"{USER}/{{me}}/packages"),
    ),
    "users.delete_self": (delete(f"{USER}/{{me}}"),),
    "users.delete_member": (delete(f"{USER}/bystander"),),
    "users.delete_elevated": (delete(f"{USER}/steward"),),
    "users.set_role": (Ask("PUT", f"{USER}/newcomer/role", {"role": "member"}),),
    "users.set_role_elevated/to": (Ask("PUT", f"{USER}/newcomer/role", {"role": "maintainer"}),),
    "users.set_role_elevated/of": (Ask("PUT", f"{USER}/steward/role", {"role": "member"}),),
    "apikey.list_own": (get("/api/api-keys"), get("/api/keys")),
    "apikey.create/within": (
        post("/api/api-keys", {"description": "", "roles": []}),
        post("/api/keys", {"description": ""}),
    ),
    # Above an owner of the server is nothing: for him the channel is one that does not exist.
    "apikey.create/above": (
        post(
            "/api/api-keys",
            {"description": "", "roles": [{"channel": "{beyond}", "role": "owner"}]},
            refused=HIDING,
        ),
    ),
    "apikey.revoke_own": (delete("/api/api-keys/{my_key}"), delete("/api/keys/{my_key}")),
    "apikey.revoke_other": (
        delete("/api/api-keys/{others_key}"),
        delete("/api/keys/{others_key}"),
    ),
    "audit.read_channel": (get(f"{CHANNEL}/audit"),),
    "audit.read_all": (get("/api/audit"),),
    "prometheus": (get("/metricsp"),),
    "health.live": (get("/health/live"),),
    "health.ready": (get("/health/ready"),),
    "openapi": (get("/openapi.json"),),
}

# Operations that no request asks for: the test of the services asks `authorize` for them.
NO_ROUTE = {
    "jobs.list": "nothing runs jobs yet",
    "jobs.create": "nothing runs jobs yet",
    "jobs.read_other": "nothing runs jobs yet",
    "action.synchronize": "an action is a job",
    "action.generate_indexes": "an action is a job",
    "action.reindex": "an action is a job",
    "action.validate_packages": "an action is a job",
    "action.synchronize_metrics": "an action is a job",
    "action.cleanup": "an action is a job",
    "channel.stats": "there is no page of statistics",
    "channel.create_mirror": "this server holds only channels of its own packages",
    "channel.create_proxy": "this server holds only channels of its own packages",
}
MEANINGLESS = {("channel.make_public", "public")}  # it is public already

# Operations that no route declares, for what is sent to a route of another decides on them.
DECIDED_WITHIN = {
    Operation.CHANNEL_MAKE_PUBLIC: "changing a channel",
    Operation.CHANNEL_SET_SIZE_LIMIT: "changing a channel",
    Operation.FILE_OVERWRITE: "uploads with force",
    Operation.PACKAGE_COPY_FROM: "copying a package into a channel",
    Operation.APIKEY_REVOKE_OTHER: "revoking an API key",
    Operation.USERS_READ_OTHER: "reading an account",
    Operation.USERS_DELETE_SELF: "deleting an account",
    Operation.USERS_DELETE_ELEVATED: "deleting an account",
    Operation.USERS_SET_ROLE_ELEVATED: "setting a role",
}
# Operations on what the front answers before any route.
OUTSIDE_THE_APP = {
    Operation.CHANNEL_DOWNLOAD_FILE,
    Operation.CHANNEL_REPODATA,
    Operation.CHANNEL_INDEX_HTML,
    Operation.FRONTEND,
}
# Routes of a server that says so in its settings only.
OPTIONAL = {Operation.LOGIN}
# Routes that no cell is about.
OUTSIDE_THE_MATRIX = {
    "GET /api/me": "answers to a session only; its own test tells",
    "GET /api/csrf-token": "answers to a session only; every cell of a session asks for it",
    "GET /auth/logout": "everyone may log out",
    "POST /auth/logout": "everyone may log out",
    f"POST {VERSION_ROUTE}/restore": "answers as /yank does to what is not yanked",
    "POST /api/api-keys/revoke-leaked": "whoever knows a key may revoke it",
    "POST /api/service-accounts": "the test of service accounts tells who may",
    "DELETE /api/service-accounts/{username}": "the test of service accounts tells who may",
    "GET /api/service-accounts/{username}/api-keys": "the test of service accounts tells who may",
    "POST /api/service-accounts/{username}/api-keys": "the test of service accounts tells who may",
}
