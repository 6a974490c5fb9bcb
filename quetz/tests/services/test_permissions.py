"""The permission matrix, cell by cell, and what its cells do not say."""

from dataclasses import replace

import pytest
from sqlalchemy import event, select

from quetz.db.models import Channel, ChannelMember, Package, User
from quetz.errors import (
    ChannelHidden,
    ChannelNotFound,
    LoginRequired,
    NotAllowed,
    NotFound,
    NotLoggedIn,
    QuetzError,
    RoleRequired,
)
from quetz.services.api_keys import NamedScope, create_api_key, find_scopes
from quetz.services.authentication import authenticate_key
from quetz.services.operations import RULES
from quetz.services.permissions import (
    ANONYMOUS,
    OPERATOR,
    Operation,
    Principal,
    Role,
    authorize,
    authorize_giving,
    authorize_path,
    may_read_channel,
    principal_of,
    visible_channels,
)
from quetz.testing.factories import add_member
from quetz.tests.services.permission_matrix import (
    ALLOWED,
    DENIED,
    EXPECTED,
    HIDDEN,
    Cell,
    World,
    make_principal,
)


def attempt(world: World, principal: Principal, cell: Cell) -> None:
    """Ask for what a cell is about; raise what the caller would be answered."""
    name, visibility = cell
    text, _, case = name.partition("/")
    operation = Operation(text)
    if operation is Operation.SEARCH_PACKAGES:
        operation = Operation.PACKAGE_READ  # a search finds what may be read
    session = world.session
    channel = world.channels.get(visibility)
    package = "another" if case == "new" else "pkg"
    if channel is None:
        authorize_path(session, principal, operation, None, None)
    else:
        authorize_path(session, principal, operation, channel.name.upper(), package)
    if operation is Operation.CHANNEL_MEMBERS_ADD and channel is not None:
        authorize_giving(session, principal, Role(case), channel)
    if operation is Operation.APIKEY_CREATE:
        make_a_key(world, principal, above=case == "above")


def make_a_key(world: World, principal: Principal, *, above: bool) -> None:
    owner = world.session.get_one(User, principal.user_id)
    # An elevated user passes every check of a role: above him is only what does not exist.
    beyond = "missing" if principal.elevated else "nobodys"
    named = [NamedScope(beyond, None, Role.MEMBER)] if above else []
    create_api_key(
        world.session,
        principal,
        owner,
        description="",
        expires_at=None,
        scopes=find_scopes(world.session, principal, named) or None,
    )


def letter_of(world: World, principal: Principal, cell: Cell) -> str:
    try:
        attempt(world, principal, cell)
    except (ChannelHidden, ChannelNotFound) as error:
        # Nobody gets to see a channel beyond him: the matrix calls it refused all the same.
        return DENIED if cell[0] == "apikey.create/above" else kind_of(error, principal)
    except QuetzError as error:
        return kind_of(error, principal)
    return ALLOWED


def kind_of(error: QuetzError, principal: Principal) -> str:
    """Return the letter of a refusal, once it is the one that fits who was refused."""
    fitting = NotFound | NotAllowed if principal.known else NotLoggedIn
    assert isinstance(error, fitting)
    return HIDDEN if isinstance(error, ChannelHidden | ChannelNotFound) else DENIED


def test_every_operation_has_a_rule():
    assert set(RULES) == set(Operation)


def test_every_operation_has_cells():
    inside = {name.partition("/")[0] for name, _ in EXPECTED["anon"]}
    apart = {
        Operation.APIKEY_REVOKE_LEAKED,
        Operation.FILE_UPLOAD_ANY,
        Operation.FRONTEND,
        Operation.LOGIN,
        Operation.LOGOUT,
        Operation.USERS_CREATE,
        Operation.USERS_DELETE_ANY,
        Operation.VERSION_YANK,
    }

    assert inside == set(Operation) - apart


@pytest.mark.parametrize("name", EXPECTED)
def test_each_cell_is_answered_as_the_matrix_says(session, name):
    world = World(session)
    principal = make_principal(world, name)

    answers = {cell: letter_of(world, principal, cell) for cell in EXPECTED[name]}

    assert answers == EXPECTED[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_the_list_shows_the_channels_that_may_be_listed(session, name):
    world = World(session)
    principal = make_principal(world, name)

    listed = set(session.scalars(select(Channel.name).where(visible_channels(principal))))

    letters = EXPECTED[name]
    assert ("open" in listed) == (letters["list.channels", "public"] == ALLOWED)
    assert ("closed" in listed) == (letters["list.channels", "private"] == ALLOWED)


@pytest.mark.parametrize("name", EXPECTED)
def test_may_read_channel_agrees_with_the_matrix(session, name):
    world = World(session)
    principal = make_principal(world, name)

    answers = {
        visibility: may_read_channel(session, principal, channel)
        for visibility, channel in world.channels.items()
    }

    letters = EXPECTED[name]
    assert answers == {
        visibility: letters["channel.read", visibility] == ALLOWED for visibility in answers
    }


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("visibility", ["public", "private"])
def test_files_without_names_yet_are_refused_only_where_every_name_would_be(
    session, name, visibility
):
    world = World(session)
    principal = make_principal(world, name)
    letters = {EXPECTED[name][f"file.upload/{case}", visibility] for case in ("existing", "new")}

    answer = letter_of(world, principal, ("file.upload_any", visibility))

    assert {answer} == letters if len(letters) == 1 else answer == ALLOWED


@pytest.mark.parametrize("operation", [Operation.CHANNEL_READ, Operation.FILE_UPLOAD])
@pytest.mark.parametrize(
    "name", ["missing", "no channel", "", "linux-64", "nul\x00", "\ud800", "ünicode", "a" * 51]
)
@pytest.mark.parametrize("known", [False, True], ids=["anonymous", "known"])
def test_a_private_channel_is_answered_as_one_that_does_not_exist(session, operation, name, known):
    world = World(session)
    principal = principal_of(world.user("member")) if known else ANONYMOUS
    with pytest.raises(QuetzError) as private:
        authorize_path(session, principal, operation, "closed", "pkg")

    with pytest.raises(QuetzError) as absent:
        authorize_path(session, principal, operation, name, "pkg")

    assert type(absent.value) is type(private.value)
    assert str(absent.value) == str(private.value)


def test_an_anonymous_caller_gets_one_text_for_all_hidden_channels(session):
    with pytest.raises(NotLoggedIn, match="No channel of this name is visible to you"):
        authorize_path(session, ANONYMOUS, Operation.CHANNEL_READ, "missing", None)


def test_a_refusal_names_the_role_that_it_takes(session):
    world = World(session)
    principal = principal_of(world.user("member", channel="member"))

    with pytest.raises(RoleRequired, match="deleting a channel takes the role maintainer in the"):
        authorize(session, principal, Operation.CHANNEL_DELETE, world.channels["private"])


def test_a_refusal_says_when_the_credential_is_what_falls_short(session):
    world = World(session)
    key = world.key(world.channel_owner(), read_only=True)
    principal = authenticate_key(session, key) or ANONYMOUS

    with pytest.raises(RoleRequired, match="this credential is scoped or read-only"):
        authorize(session, principal, Operation.CHANNEL_DELETE, world.channels["private"])


def test_an_anonymous_caller_is_asked_to_log_in_for_more_than_reading(session):
    world = World(session)

    with pytest.raises(LoginRequired):
        authorize(session, ANONYMOUS, Operation.CHANNEL_DELETE, world.channels["public"])


def test_a_package_name_that_nothing_can_have_counts_as_a_new_one(session):
    world = World(session)
    principal = principal_of(world.user("member", channel="maintainer"))

    authorize_path(session, principal, Operation.FILE_UPLOAD, "closed", "nul\x00")


def test_a_package_of_the_same_name_in_another_channel_gives_no_right(session):
    world = World(session)
    user = world.user()
    add_member(session, world.packages["public"], user, "owner")

    with pytest.raises(ChannelNotFound):
        authorize_path(session, principal_of(user), Operation.PACKAGE_READ, "closed", "pkg")


def test_a_key_loses_what_its_owner_loses(session):
    world = World(session)
    owner = world.channel_owner()
    key = world.key(owner, world.scopes("channel", "owner"))
    principal = authenticate_key(session, key) or ANONYMOUS
    channel = world.channels["private"]
    session.get_one(ChannelMember, (channel.id, owner.id)).role = "member"
    session.flush()

    with pytest.raises(RoleRequired):
        authorize(session, principal, Operation.CHANNEL_DELETE, channel)


def test_a_key_of_a_channel_keeps_the_role_that_its_owner_has_in_a_package(session):
    world = World(session)
    owner = world.user("member", channel="maintainer", package="maintainer")
    key = world.key(owner, world.scopes("channel", "maintainer"))
    for channel in world.channels.values():
        session.delete(session.get_one(ChannelMember, (channel.id, owner.id)))
    session.flush()

    principal = authenticate_key(session, key) or ANONYMOUS

    authorize_path(session, principal, Operation.VERSION_DELETE, "closed", "pkg")
    with pytest.raises(ChannelNotFound):
        authorize_path(session, principal, Operation.CHANNEL_READ, "closed", None)


def test_nobody_gives_a_role_above_his_own(session):
    world = World(session)
    principal = principal_of(world.user("member", channel="maintainer"))

    authorize_giving(session, principal, Role.MAINTAINER, world.channels["public"])
    with pytest.raises(RoleRequired, match="giving the role owner takes the role owner"):
        authorize_giving(session, principal, Role.OWNER, world.channels["public"])


def test_an_operation_on_a_channel_is_never_judged_without_one(session):
    with pytest.raises(TypeError, match=r"channel\.read"):
        authorize(session, ANONYMOUS, Operation.CHANNEL_READ)


def test_roles_are_ordered_by_what_they_allow():
    assert Role.MEMBER < Role.MAINTAINER < Role.OWNER
    assert Role.OWNER >= "maintainer" >= Role.MAINTAINER
    assert sorted(Role, reverse=True) == [Role.OWNER, Role.MAINTAINER, Role.MEMBER]
    assert Role.MEMBER <= Role.MEMBER
    assert max(Role) > Role.MAINTAINER


@pytest.mark.parametrize(
    ("operation", "queries"),
    [
        pytest.param(Operation.CHANNEL_REPODATA, 1, id="a role in the channel"),
        pytest.param(Operation.FILE_UPLOAD, 1, id="that is enough for a package"),
        pytest.param(Operation.FILE_OVERWRITE, 2, id="or is not"),
    ],
)
def test_authorising_takes_at_most_two_queries(session, operation, queries):
    world = World(session)
    user = world.user("member", channel="maintainer", package="owner")
    statements = []
    event.listen(session.get_bind(), "before_cursor_execute", lambda *args: statements.append(args))

    authorize(
        session,
        principal_of(user),
        operation,
        world.channels["private"],
        world.packages["private"],
    )

    assert len(statements) == queries


def test_the_operator_does_everything_and_nobody_who_looks_alike(session):
    world = World(session)
    closed = world.channels["private"]
    double = replace(OPERATOR, address="127.0.0.1")

    for operation in Operation:
        authorize(session, OPERATOR, operation, closed, world.packages["private"])
    authorize_giving(session, OPERATOR, Role.OWNER, closed)

    with pytest.raises(ChannelHidden):
        authorize(session, double, Operation.CHANNEL_READ, closed)
    with pytest.raises(ChannelHidden):
        authorize_giving(session, double, Role.MEMBER, closed)
    with pytest.raises(ChannelNotFound):
        authorize_path(session, OPERATOR, Operation.CHANNEL_READ, "none", None)


def test_reading_a_public_channel_takes_no_query(session):
    channel = Channel(id=1, name="open", private=False)
    package = Package(id=1, channel_id=1, name="pkg")
    statements = []
    event.listen(session.get_bind(), "before_cursor_execute", lambda *args: statements.append(args))

    authorize(session, ANONYMOUS, Operation.PACKAGE_READ, channel, package)

    assert statements == []
