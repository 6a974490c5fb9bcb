"""API keys that are good for some kinds of deeds only."""

import pytest

from quetz.db.models import ApiKey
from quetz.db.queries.members import set_channel_role
from quetz.errors import ChannelHidden, ChannelNotFound, QuetzError, RoleRequired
from quetz.errors.api_keys import VerbRequired
from quetz.services.api_keys import create_api_key, list_api_keys
from quetz.services.authentication import authenticate_key, verbs_of
from quetz.services.channels import channels_to_list, list_channels
from quetz.services.operations import RULES, Takes
from quetz.services.permissions import (
    OPERATOR,
    Operation,
    Role,
    Scope,
    Verb,
    authorize,
    may_read_channel,
)
from quetz.testing.factories import add_member, make_channel, make_package, make_user

READING = {
    Operation.APIKEY_LIST_OWN,
    Operation.AUDIT_READ_ALL,
    Operation.AUDIT_READ_CHANNEL,
    Operation.CHANNEL_MEMBERS_LIST,
    Operation.JOBS_LIST,
    Operation.JOBS_READ_OTHER,
    Operation.PROMETHEUS,
    Operation.USERS_LIST_ALL,
    Operation.USERS_READ_OTHER,
    Operation.USERS_READ_SELF,
}
UPLOADING = {
    Operation.FILE_OVERWRITE,
    Operation.FILE_UPLOAD,
    Operation.FILE_UPLOAD_ANY,
    Operation.PACKAGE_COPY,
    Operation.PACKAGE_CREATE,
}
DELETING = {Operation.PACKAGE_DELETE, Operation.VERSION_DELETE, Operation.VERSION_YANK}


@pytest.fixture
def owner(session):
    """The owner of the server, who may do everything that an API key may."""
    return make_user(session, role="owner")


@pytest.fixture
def channel(session):
    return make_channel(session, "closed", private=True)


def principal(session, owner, *verbs, maker=OPERATOR, **limits):
    new = create_api_key(
        session,
        maker,
        owner,
        description="",
        expires_at=None,
        verbs=verbs or None,
        **{"scopes": None} | limits,
    )
    found = authenticate_key(session, new.key)
    assert found is not None
    return found


def refusal(session, caller, operation, channel, package=None):
    try:
        authorize(session, caller, operation, channel, package)
    except QuetzError as error:
        return error
    return None


def test_each_operation_has_the_verb_of_what_it_does():
    verbs = {
        operation: Verb.READ
        if operation in READING or rule.takes is Takes.NOTHING
        else Verb.UPLOAD
        if operation in UPLOADING
        else Verb.DELETE
        if operation in DELETING
        else Verb.MANAGE
        for operation, rule in RULES.items()
    }

    assert {operation: rule.verb for operation, rule in RULES.items()} == verbs


@pytest.mark.parametrize("verb", Verb)
def test_a_key_is_good_for_the_deeds_of_its_verb_and_for_what_everyone_may_do(
    session, owner, channel, verb
):
    package = make_package(session, channel)
    all_of_them, caller = principal(session, owner), principal(session, owner, verb)

    for operation, rule in RULES.items():
        of_server = rule.place.name == "SERVER"
        places = (None, None) if of_server else (channel, package)
        expected = refusal(session, all_of_them, operation, *places)
        everyone = of_server and rule.takes is Takes.NOTHING
        refused = refusal(session, caller, operation, *places)

        if expected is not None or rule.verb is verb or everyone:
            assert type(refused) is type(expected), operation
        else:
            assert isinstance(refused, VerbRequired), operation
            assert f"the verb {rule.verb}" in str(refused)


def test_a_key_without_the_verb_reads_what_is_public(session, owner):
    public = make_channel(session, private=False)
    caller = principal(session, owner, Verb.UPLOAD)

    assert refusal(session, caller, Operation.CHANNEL_READ, public) is None
    assert may_read_channel(session, caller, public)


def test_a_key_without_the_verb_lists_what_is_public(session, owner, channel):
    public = make_channel(session, private=False)
    listed = [
        [row.name for row, _ in list_channels(session, channels_to_list(caller))]
        for caller in (
            principal(session, owner, Verb.UPLOAD),
            principal(session, owner, Verb.READ),
        )
    ]

    assert listed == [[public.name], sorted([channel.name, public.name])]
    assert not may_read_channel(session, principal(session, owner, Verb.MANAGE), channel)


def test_what_is_hidden_from_the_owner_of_a_key_stays_hidden(session, channel):
    caller = principal(session, make_user(session), Verb.UPLOAD)

    refused = refusal(session, caller, Operation.FILE_UPLOAD, channel)

    assert isinstance(refused, ChannelNotFound)
    assert not isinstance(refused, ChannelHidden)


@pytest.mark.parametrize(
    ("role", "scope", "verb", "error"),
    [
        pytest.param("owner", "owner", Verb.UPLOAD, None, id="all three"),
        pytest.param("owner", "owner", Verb.READ, VerbRequired, id="no verb"),
        pytest.param("owner", "member", Verb.UPLOAD, RoleRequired, id="no scope"),
        pytest.param("member", "owner", Verb.UPLOAD, RoleRequired, id="no role"),
    ],
)
def test_rights_are_what_scopes_verbs_and_the_owner_have_in_common(
    session, channel, role, scope, verb, error
):
    user = make_user(session)
    add_member(session, channel, user, "owner")
    scopes = [Scope(channel.id, None, Role(scope))]
    caller = principal(session, user, verb, scopes=scopes)
    set_channel_role(session, user.id, channel.id, role)
    session.flush()

    refused = refusal(session, caller, Operation.FILE_UPLOAD_ANY, channel)

    assert (None if refused is None else type(refused)) is error


def test_a_role_in_the_channel_does_not_stand_in_for_a_verb(session, channel):
    user = make_user(session)
    add_member(session, channel, user, "maintainer")
    package = make_package(session, channel)
    caller = principal(session, user, Verb.READ)

    refused = refusal(session, caller, Operation.PACKAGE_MEMBERS_ADD, channel, package)

    assert isinstance(refused, VerbRequired)


def test_a_role_in_some_package_does_not_stand_in_for_a_verb(session, channel):
    user = make_user(session)
    make_package(session, channel, owner=user)
    caller = principal(session, user, Verb.READ)

    refused = refusal(session, caller, Operation.FILE_UPLOAD_ANY, channel)

    assert isinstance(refused, VerbRequired)


def test_a_key_makes_no_key_with_more_verbs(session, owner):
    maker = principal(session, owner, Verb.MANAGE, Verb.READ)

    with pytest.raises(VerbRequired, match="the verb upload"):
        principal(session, owner, Verb.READ, Verb.UPLOAD, maker=maker)

    assert principal(session, owner, Verb.READ, maker=maker).verbs == {Verb.READ}


def test_a_key_that_is_made_by_a_key_has_its_verbs_unless_it_names_some(session, owner):
    maker = principal(session, owner, Verb.MANAGE, Verb.READ)

    made = principal(session, owner, maker=maker)

    assert made.verbs == {Verb.MANAGE, Verb.READ}


def test_a_key_without_the_verb_manage_makes_none(session, owner):
    maker = principal(session, owner, Verb.READ, Verb.UPLOAD, Verb.DELETE)

    with pytest.raises(VerbRequired, match="creating an API key takes the verb manage"):
        principal(session, owner, Verb.READ, maker=maker)


def test_verbs_are_kept_once_and_in_one_order(session, owner):
    principal(session, owner, Verb.UPLOAD, Verb.READ, Verb.UPLOAD)

    [key] = list_api_keys(session, principal(session, owner, Verb.READ))[1:]

    assert key.verbs == "read upload"
    assert verbs_of(key) == [Verb.READ, Verb.UPLOAD]


def test_a_verb_of_a_later_version_is_no_right_in_this_one(session, owner):
    caller = principal(session, owner, Verb.READ)
    key = session.query(ApiKey).one()
    key.verbs = "sign read"

    assert verbs_of(key) == [Verb.READ]
    assert caller.verbs == {Verb.READ}
