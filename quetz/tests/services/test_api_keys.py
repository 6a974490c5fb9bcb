"""API keys: their text, their rights, their end."""

import re
import zlib

import pytest
from sqlalchemy import event, select

from quetz.db.base import now_ms
from quetz.db.models import ApiKey, Event
from quetz.errors import (
    ApiKeyNotFound,
    ChannelHidden,
    ChannelNotFound,
    ExpiryRefused,
    LoginRequired,
    PackageNotFound,
    RoleRequired,
)
from quetz.services.api_keys import (
    NamedScope,
    NewKey,
    create_api_key,
    find_scopes,
    list_api_keys,
    name_scopes,
    revoke_api_key,
    touch_keys,
)
from quetz.services.authentication import authenticate_key
from quetz.services.permissions import (
    ANONYMOUS,
    OPERATOR,
    Principal,
    Role,
    Scope,
    principal_of,
)
from quetz.testing.factories import add_member, make_channel, make_package, make_user

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def make_key(
    session, owner, principal=OPERATOR, *, expires_at=None, scopes=None, read_only=False
) -> NewKey:
    return create_api_key(
        session,
        principal,
        owner,
        description="ci",
        expires_at=expires_at,
        scopes=scopes,
        read_only=read_only,
    )


def with_checksum(text: str) -> str:
    """Append to ``qz-<id>-<secret>`` the checksum that a key of this text would have."""
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = DIGITS[digit] + digits
    return text + digits


def test_a_key_has_only_characters_that_every_client_leaves_alone(session):
    key = make_key(session, make_user(session)).key

    assert re.fullmatch(r"qz-[A-Za-z0-9]{16}-[A-Za-z0-9]{49}", key)
    assert with_checksum(key[:-6]) == key


def test_a_key_speaks_for_its_owner(session):
    owner = make_user(session, role="maintainer")

    new = make_key(session, owner)

    assert authenticate_key(session, new.key) == Principal(
        owner.id, owner.username, Role.MAINTAINER, api_key=new.row.public_id
    )


def test_a_read_only_key_says_so(session):
    new = make_key(session, make_user(session), read_only=True)

    principal = authenticate_key(session, new.key)

    assert principal is not None
    assert principal.read_only


def test_no_part_of_the_secret_is_kept(session):
    key = make_key(session, make_user(session)).key
    secret = key.split("-")[2][:43]

    [row] = session.scalars(select(ApiKey))
    kept = [str(getattr(row, column.key)) for column in ApiKey.__table__.columns]
    assert not any(secret[:8] in text for text in kept)


def test_keys_are_all_different(session):
    owner = make_user(session)

    keys = {make_key(session, owner).key for _ in range(20)}

    assert len({part for key in keys for part in key.split("-")[1:]}) == 40


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda _key: "", id="empty"),
        pytest.param(lambda key: key[:-1], id="cut"),
        pytest.param(lambda key: key + "0", id="longer"),
        pytest.param(lambda key: key + "\n", id="line end"),
        pytest.param(lambda key: key[:-1] + "é", id="not ASCII"),
        pytest.param(lambda key: key.replace("qz-", "qy-"), id="prefix"),
        pytest.param(lambda key: key[:-6] + "000000", id="checksum"),
        pytest.param(lambda key: with_checksum(key[:-7] + "é"), id="secret not ASCII"),
        pytest.param(lambda key: with_checksum(f"{key[:20]}{'0' * 43}"), id="another secret"),
        pytest.param(lambda key: with_checksum(f"qz-{'0' * 16}{key[19:-6]}"), id="another id"),
    ],
)
def test_what_is_not_quite_the_key_is_nobodys(session, spoil):
    key = make_key(session, make_user(session)).key

    assert authenticate_key(session, spoil(key)) is None


def test_a_text_with_a_wrong_checksum_costs_no_query(session):
    key = make_key(session, make_user(session)).key
    statements = []
    event.listen(session.get_bind(), "before_cursor_execute", lambda *args: statements.append(args))

    authenticate_key(session, key[:-6] + "000000")

    assert statements == []


@pytest.mark.parametrize(("ends_in", "alive"), [(60_000, True), (-1, False)])
def test_a_key_ends_when_it_expires(session, ends_in, alive):
    new = make_key(session, make_user(session))
    new.row.expires_at = now_ms() + ends_in
    session.flush()

    assert (authenticate_key(session, new.key) is not None) == alive


def test_a_key_that_would_have_expired_is_not_made(session):
    with pytest.raises(ExpiryRefused, match="expire_at"):
        make_key(session, make_user(session), expires_at=now_ms())


def test_a_key_made_by_a_key_ends_with_it(session):
    owner = make_user(session)
    end = now_ms() + 60_000
    by_key = authenticate_key(session, make_key(session, owner, expires_at=end).key)

    ends = [
        make_key(session, owner, by_key, expires_at=wanted).row.expires_at
        for wanted in (None, end + 1, end - 1)
    ]

    assert ends == [end, end, end - 1]


def test_a_scoped_key_has_its_scopes(session):
    owner = make_user(session)
    channel = make_channel(session, private=True, owner=owner)
    package = make_package(session, channel)
    scopes = [Scope(channel.id, None, Role.MEMBER), Scope(channel.id, package.id, Role.OWNER)]

    principal = authenticate_key(session, make_key(session, owner, scopes=scopes).key)

    assert principal is not None
    assert principal.scopes == tuple(scopes)


def test_a_scoped_key_of_a_server_owner_works_without_a_role_in_the_channel(session):
    owner = make_user(session, role="owner")
    scopes = [Scope(make_channel(session, private=True).id, None, Role.MAINTAINER)]

    principal = authenticate_key(session, make_key(session, owner, scopes=scopes).key)

    assert principal is not None
    assert principal.scopes == tuple(scopes)


def test_a_scoped_key_is_nobodys_once_its_channel_is_gone(session):
    owner = make_user(session)
    channel = make_channel(session, owner=owner)
    key = make_key(session, owner, scopes=[Scope(channel.id, None, Role.MEMBER)]).key

    session.delete(channel)
    session.flush()

    assert authenticate_key(session, key) is None


@pytest.mark.parametrize("role", ["member", "maintainer"])
def test_a_scope_above_the_owners_own_role_is_refused(session, role):
    owner = make_user(session)
    channel = make_channel(session)
    add_member(session, channel, owner, role)

    with pytest.raises(RoleRequired, match="giving the role owner"):
        make_key(session, owner, scopes=[Scope(channel.id, None, Role.OWNER)])

    assert list(session.scalars(select(ApiKey))) == []


def test_nobody_makes_a_key_of_another_user(session):
    principal = principal_of(make_user(session, role="owner"))

    with pytest.raises(RoleRequired, match="another user"):
        make_key(session, make_user(session), principal)


def test_scopes_are_found_by_the_names_of_their_places(session):
    owner = make_user(session)
    channel = make_channel(session, "forge", private=True, owner=owner)
    package = make_package(session, channel, "numpy")
    named = [
        NamedScope("Forge", None, Role.MEMBER),
        NamedScope("forge", "numpy", Role.OWNER),
    ]

    scopes = find_scopes(session, principal_of(owner), named)

    assert scopes == [
        Scope(channel.id, None, Role.MEMBER),
        Scope(channel.id, package.id, Role.OWNER),
    ]


def test_a_scope_in_a_hidden_channel_is_answered_as_in_a_missing_one(session):
    principal = principal_of(make_user(session))
    make_package(session, make_channel(session, "closed", private=True), "numpy")

    for channel, package in [("closed", None), ("closed", "numpy"), ("missing", None)]:
        with pytest.raises(ChannelNotFound):
            find_scopes(session, principal, [NamedScope(channel, package, Role.MEMBER)])
    with pytest.raises(ChannelHidden):
        find_scopes(session, ANONYMOUS, [NamedScope("closed", None, Role.MEMBER)])


def test_a_scope_in_a_package_that_is_not_there_is_refused(session):
    owner = make_user(session)
    make_channel(session, "forge", owner=owner)

    with pytest.raises(PackageNotFound, match="numpy"):
        find_scopes(session, principal_of(owner), [NamedScope("forge", "numpy", Role.OWNER)])


def test_the_list_has_ones_own_keys_with_their_scopes(session):
    owner = make_user(session)
    channel = make_channel(session, "forge", owner=owner)
    make_key(session, make_user(session))
    full = make_key(session, owner).row
    scoped = make_key(session, owner, scopes=[Scope(channel.id, None, Role.OWNER)]).row
    revoked = make_key(session, owner).row
    revoke_api_key(session, principal_of(owner), revoked.public_id)

    keys = list_api_keys(session, principal_of(owner))

    assert keys == [scoped, full]
    assert name_scopes(session, keys) == {
        full.public_id: None,
        scoped.public_id: [NamedScope("forge", None, Role.OWNER)],
    }


def test_a_key_whose_scopes_are_gone_is_not_shown_as_a_full_one(session):
    owner = make_user(session)
    channel = make_channel(session, owner=owner)
    key = make_key(session, owner, scopes=[Scope(channel.id, None, Role.OWNER)]).row
    session.delete(channel)
    session.flush()

    assert name_scopes(session, [key]) == {key.public_id: []}


@pytest.mark.parametrize("by", ["public id", "full text"])
def test_a_revoked_key_is_nobodys(session, by):
    owner = make_user(session)
    new = make_key(session, owner)

    revoke_api_key(
        session, principal_of(owner), new.key if by == "full text" else new.row.public_id
    )

    assert authenticate_key(session, new.key) is None


def test_a_key_is_revoked_once(session):
    owner = make_user(session)
    new = make_key(session, owner)
    revoke_api_key(session, principal_of(owner), new.row.public_id)

    with pytest.raises(ApiKeyNotFound):
        revoke_api_key(session, principal_of(owner), new.row.public_id)


@pytest.mark.parametrize("name", ["unknown", "", "nul\x00", "\ud800", "ключ", "a" * 5000])
def test_a_key_that_is_not_there_cannot_be_revoked(session, name):
    with pytest.raises(ApiKeyNotFound):
        revoke_api_key(session, principal_of(make_user(session)), name)


@pytest.mark.parametrize(
    ("own", "target", "refused"),
    [
        pytest.param("member", None, "revoking an API key of another user", id="a member"),
        pytest.param("maintainer", "owner", "the role owner on the server", id="one above"),
    ],
)
def test_another_users_key_is_out_of_reach(session, own, target, refused):
    new = make_key(session, make_user(session, role=target))

    with pytest.raises(RoleRequired, match=refused):
        revoke_api_key(session, principal_of(make_user(session, role=own)), new.row.public_id)

    assert authenticate_key(session, new.key) is not None


def test_a_server_maintainer_revokes_the_key_of_a_member(session):
    new = make_key(session, make_user(session, role="member"))

    revoke_api_key(session, principal_of(make_user(session, role="maintainer")), new.row.public_id)

    assert authenticate_key(session, new.key) is None


def test_an_anonymous_caller_has_no_business_with_keys(session):
    new = make_key(session, make_user(session))

    with pytest.raises(LoginRequired):
        list_api_keys(session, ANONYMOUS)
    with pytest.raises(LoginRequired):
        revoke_api_key(session, ANONYMOUS, new.row.public_id)


def test_making_and_revoking_are_recorded_once_each(session):
    owner = make_user(session, "alice", role="owner")
    mine, other = (
        make_key(session, owner, principal_of(owner)),
        make_key(session, make_user(session)),
    )

    revoke_api_key(session, principal_of(owner), mine.row.public_id)
    revoke_api_key(session, principal_of(owner), other.row.public_id)

    events = session.execute(select(Event.actor, Event.action, Event.subject).order_by(Event.id))
    assert list(map(tuple, events)) == [
        ("alice", "apikey.create", mine.row.public_id),
        ("operator", "apikey.create", other.row.public_id),
        ("alice", "apikey.revoke_own", mine.row.public_id),
        ("alice", "apikey.revoke_other", other.row.public_id),
    ]


def test_the_last_use_is_the_latest_that_was_noted(session):
    keys = [make_key(session, make_user(session)).row for _ in range(2)]

    touch_keys(session, {keys[0].public_id: 2000, "unknown": 1})
    touch_keys(session, {key.public_id: 1000 for key in keys})
    touch_keys(session, {})
    session.expire_all()

    assert [key.last_used_at for key in keys] == [2000, 1000]
