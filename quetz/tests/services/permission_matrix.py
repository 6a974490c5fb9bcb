"""The permission matrix, and a world with each of its principals."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from sqlalchemy.orm import Session

from quetz.db.base import now_ms
from quetz.db.models import ChannelMember, User
from quetz.services.api_keys import create_api_key, revoke_api_key
from quetz.services.authentication import authenticate_key
from quetz.services.permissions import (
    ANONYMOUS,
    OPERATOR,
    Principal,
    Role,
    Scope,
    principal_of,
)
from quetz.services.sessions import authenticate_session, end_session, start_session
from quetz.testing.factories import add_member, make_channel, make_package, make_user

MATRIX = Path(__file__).with_name("permission_matrix.txt")
ALLOWED, DENIED, HIDDEN = "A", "D", "H"

Cell = tuple[str, str]  # operation, visibility


def read_matrix() -> dict[str, dict[Cell, str]]:
    """Return the letters by principal, and by cell within."""
    lines = [line.split(maxsplit=1) for line in MATRIX.read_text().splitlines()]
    names = [rest for first, rest in lines if first == "principal"]
    matrix: dict[str, dict[Cell, str]] = {name: {} for name in names}
    for operation, rest in lines:
        if operation not in {"#", "principal"}:
            visibility, letters = rest.split()
            for name, letter in zip(names, letters, strict=True):
                matrix[name][operation, visibility] = letter
    return matrix


EXPECTED = read_matrix()


@dataclass
class World:
    """A public and a private channel with a package each, and all that have to do with them.

    Whoever has a role in a channel is a member of the server, too.
    """

    session: Session

    def __post_init__(self) -> None:
        self.channels = {
            "public": make_channel(self.session, "open"),
            "private": make_channel(self.session, "closed", private=True),
        }
        self.packages = {
            visibility: make_package(self.session, channel, "pkg")
            for visibility, channel in self.channels.items()
        }
        self.elsewhere = make_channel(self.session, "elsewhere", private=True)
        make_channel(self.session, "nobodys", private=True)

    def user(self, server: str | None = None, **roles: str) -> User:
        """Make a user with a role on the ``server``, in each ``channel`` or ``package``."""
        user = make_user(self.session, role=server)
        for visibility, channel in self.channels.items():
            if "channel" in roles:
                add_member(self.session, channel, user, roles["channel"])
            if "package" in roles:
                add_member(self.session, self.packages[visibility], user, roles["package"])
        return user

    def channel_owner(self) -> User:
        return self.user("member", channel="owner")

    def owner_elsewhere(self) -> User:
        user = self.user("member")
        add_member(self.session, self.elsewhere, user, "owner")
        return user

    def scopes(self, place: str, role: str) -> list[Scope]:
        return [
            Scope(
                channel.id,
                self.packages[visibility].id if place == "package" else None,
                Role(role),
            )
            for visibility, channel in self.channels.items()
        ]

    def key(
        self, owner: User, scopes: list[Scope] | None = None, *, read_only: bool = False
    ) -> str:
        return create_api_key(
            self.session,
            OPERATOR,
            owner,
            description="",
            expires_at=None,
            scopes=scopes,
            read_only=read_only,
        ).key


@dataclass(frozen=True)
class Credential:
    """What a client sends to say who he is: nothing, or a secret that is carried in one way."""

    carrier: Literal["nothing", "cookie", "key", "token in the URL"]
    secret: str = ""

    def principal(self, session: Session) -> Principal:
        if self.carrier == "nothing":
            return ANONYMOUS
        if self.carrier == "cookie":
            return authenticate_session(session, self.secret) or ANONYMOUS
        principal = authenticate_key(session, self.secret) or ANONYMOUS
        if self.carrier == "token in the URL":
            return replace(principal, read_only=True)
        return principal


def by_user(make: Callable[[World], User]) -> Callable[[World], Credential]:
    """Log a user in, and use his cookie."""
    return lambda world: Credential("cookie", start_session(world.session, make(world), "dummy"))


def by_key(make: Callable[[World], str]) -> Callable[[World], Credential]:
    return lambda world: Credential("key", make(world))


def scoped_key(place: str, role: str) -> Callable[[World], Credential]:
    return by_key(lambda world: world.key(world.channel_owner(), world.scopes(place, role)))


def expired_key(world: World) -> str:
    new = create_api_key(
        world.session,
        OPERATOR,
        world.channel_owner(),
        description="",
        expires_at=now_ms() + 60_000,
        scopes=None,
    )
    new.row.expires_at = now_ms() - 1
    return new.key


def revoked_key(world: World) -> str:
    owner = world.channel_owner()
    key = world.key(owner)
    revoke_api_key(world.session, principal_of(owner), key)
    return key


def key_of_disabled_owner(world: World) -> str:
    owner = world.channel_owner()
    key = world.key(owner)
    owner.disabled_at = now_ms()
    return key


def key_of_removed_owner(world: World) -> str:
    owner = world.channel_owner()
    key = world.key(owner, world.scopes("channel", "owner"))
    world.session.query(ChannelMember).filter_by(user_id=owner.id).delete()
    return key


def unknown_key(world: World) -> str:
    owner = world.channel_owner()
    key = world.key(owner)
    world.session.delete(owner)
    world.session.flush()
    return key


def session_of_deleted_user(world: World) -> Credential:
    user = world.channel_owner()
    cookie = start_session(world.session, user, "dummy")
    world.session.delete(user)
    world.session.flush()
    return Credential("cookie", cookie)


def replayed_session(world: World) -> Credential:
    user = world.channel_owner()
    cookie = start_session(world.session, user, "dummy")
    end_session(world.session, principal_of(user), cookie)
    return Credential("cookie", cookie)


def token_in_url(world: World) -> Credential:
    key = world.key(world.user("member", channel="member"))
    return Credential("token in the URL", key)


CREDENTIALS: dict[str, Callable[[World], Credential]] = {
    "anon": lambda _world: Credential("nothing"),
    "user.server=none": by_user(lambda world: world.user()),
    "user.server=member": by_user(lambda world: world.user("member")),
    "user.server=maintainer": by_user(lambda world: world.user("maintainer")),
    "user.server=owner": by_user(lambda world: world.user("owner")),
    "user.channel=member": by_user(lambda world: world.user("member", channel="member")),
    "user.channel=maintainer": by_user(lambda world: world.user("member", channel="maintainer")),
    "user.channel=owner": by_user(World.channel_owner),
    "user.package=member": by_user(lambda world: world.user(package="member")),
    "user.package=maintainer": by_user(lambda world: world.user(package="maintainer")),
    "user.package=owner": by_user(lambda world: world.user(package="owner")),
    "user.otherchannel=owner": by_user(World.owner_elsewhere),
    "key.full(of channel owner)": by_key(lambda world: world.key(world.channel_owner())),
    "key.full(of server owner)": by_key(lambda world: world.key(world.user("owner"))),
    "key.scope=channel:member": scoped_key("channel", "member"),
    "key.scope=channel:maintainer": scoped_key("channel", "maintainer"),
    "key.scope=channel:owner": scoped_key("channel", "owner"),
    "key.scope=package:member": scoped_key("package", "member"),
    "key.scope=package:maintainer": scoped_key("package", "maintainer"),
    "key.scope=package:owner": scoped_key("package", "owner"),
    "key.readonly(of channel owner)": by_key(
        lambda world: world.key(world.channel_owner(), read_only=True)
    ),
    "key.expired": by_key(expired_key),
    "key.revoked": by_key(revoked_key),
    "key.owner-disabled": by_key(key_of_disabled_owner),
    "key.owner-removed-from-channel": by_key(key_of_removed_owner),
    "key.unknown": by_key(unknown_key),
    "key.malformed": by_key(lambda _world: "qz-0123456789abcdef-secret"),
    "session.of-deleted-user": session_of_deleted_user,
    "session.logged-out-replay": replayed_session,
    "t-url-token(channel member key)": token_in_url,
}


def make_principal(world: World, name: str) -> Principal:
    """Make who is called ``name`` in the matrix."""
    return CREDENTIALS[name](world).principal(world.session)
