import json

import pytest
from sqlalchemy import func, select

from quetz.db.base import Base
from quetz.db.models import Channel, Event, IndexSuperseded
from quetz.db.queries.channels import count_channels, get_channel
from quetz.db.queries.windows import Window
from quetz.errors import BadName, BothLists, ChannelExists, ChannelNotFound, RoleRequired
from quetz.services.channels import (
    NewChannel,
    channels_to_list,
    create_channel,
    delete_channel,
    list_channels,
    patch_channel,
)
from quetz.services.members import list_members
from quetz.services.permissions import ANONYMOUS, Principal, Role, Scope
from quetz.testing.factories import (
    add_member,
    make_channel,
    make_file,
    make_package,
    make_user,
    principal_of,
)


def make_principal(session, role="member"):
    return principal_of(make_user(session, role=role))


def names_listed(session, principal, **filters):
    wanted = channels_to_list(principal, **filters)
    names = [channel.name for channel, _ in list_channels(session, wanted)]
    assert count_channels(session, wanted) == len(names)
    return names


def events_of(session):
    return session.execute(select(Event.action, Event.channel)).all()


def test_a_new_channel_is_private_and_belongs_to_who_made_it(session):
    alice = make_user(session, "alice", role="member")

    channel = create_channel(session, principal_of(alice), NewChannel("forge"))

    assert channel.private
    assert channel.ttl == 36000
    assert [tuple(row) for row in list_members(session, channel)] == [(alice, "owner")]
    assert events_of(session) == [("channel.create", "forge")]


def test_a_channel_is_found_by_its_name_in_any_case(session):
    created = create_channel(session, make_principal(session), NewChannel("Forge"))

    assert created.name == "forge"
    assert get_channel(session, "FORGE") is created


@pytest.mark.parametrize("name", ["", "linux-64", "noarch", "a_b", "ünïcode", "x" * 51, "a\0b"])
def test_a_name_that_breaks_the_rule_is_refused_and_never_found(session, name):
    with pytest.raises(BadName):
        create_channel(session, make_principal(session), NewChannel(name))

    with pytest.raises(ChannelNotFound):
        get_channel(session, name)


def test_a_taken_name_is_refused_in_any_case(session):
    make_channel(session, "forge")

    with pytest.raises(ChannelExists, match="'forge'"):
        create_channel(session, make_principal(session), NewChannel("FORGE"))

    assert events_of(session) == []


def test_a_new_channel_gets_the_default_quota_unless_a_maintainer_says_otherwise(session):
    member, maintainer = make_principal(session), make_principal(session, "maintainer")

    usual = create_channel(session, member, NewChannel("usual"), quota=1000)
    large = create_channel(session, maintainer, NewChannel("large", size_limit=5000), quota=1000)

    assert (usual.size_limit, large.size_limit) == (1000, 5000)


def test_a_member_of_the_server_sets_no_size_limit(session):
    with pytest.raises(RoleRequired, match="size limit takes the role maintainer"):
        create_channel(session, make_principal(session), NewChannel("forge", size_limit=5000))


def test_a_channel_has_an_includelist_or_an_excludelist(session):
    both = {"includelist": ["numpy"], "excludelist": ["scipy"]}

    with pytest.raises(BothLists):
        create_channel(session, make_principal(session), NewChannel("forge", metadata=both))


def test_everyone_sees_the_private_channels_he_has_a_role_in(session):
    owner, stranger, member, in_package = (make_user(session) for _ in range(4))
    maintainer = make_user(session, role="maintainer")
    make_channel(session, "public")
    hidden = make_channel(session, "private", private=True, owner=owner)
    other = make_channel(session, "other", private=True)
    add_member(session, hidden, member, "member")
    make_package(session, hidden, owner=in_package)
    one_channel = Principal(
        maintainer.id, "", Role.MAINTAINER, scopes=(Scope(other.id, None, Role.MEMBER),)
    )

    seen = {
        "anonymous": names_listed(session, ANONYMOUS),
        "stranger": names_listed(session, principal_of(stranger)),
        "owner": names_listed(session, principal_of(owner)),
        "member": names_listed(session, principal_of(member)),
        "in package": names_listed(session, principal_of(in_package)),
        "maintainer": names_listed(session, principal_of(maintainer)),
        "key for one channel": names_listed(session, one_channel),
    }

    assert seen == {
        "anonymous": ["public"],
        "stranger": ["public"],
        "owner": ["private", "public"],
        "member": ["private", "public"],
        "in package": ["public"],
        "maintainer": ["other", "private", "public"],
        "key for one channel": ["other", "public"],
    }


def test_without_the_public_ones_only_own_channels_are_listed(session):
    alice = make_user(session, role="owner")
    make_channel(session, "public")
    make_channel(session, "private", private=True)
    make_channel(session, "mine", owner=alice)

    assert names_listed(session, principal_of(alice), public=False) == ["mine"]
    assert names_listed(session, ANONYMOUS, public=False) == []


def test_channels_are_searched_by_a_part_of_their_name_taken_literally(session):
    for name in ("conda-forge", "forge", "bioconda"):
        make_channel(session, name)

    assert names_listed(session, ANONYMOUS, text="CONDA") == ["bioconda", "conda-forge"]
    assert names_listed(session, ANONYMOUS, text="_") == []
    assert names_listed(session, ANONYMOUS, text="%") == []


def test_a_window_cuts_the_ordered_list(session):
    for name in ("c", "a", "d", "b"):
        make_channel(session, name)
    wanted = channels_to_list(ANONYMOUS)

    rows = list_channels(session, wanted, Window(skip=1, limit=2))
    rest = list_channels(session, wanted, Window(skip=2))

    assert [channel.name for channel, _ in rows] == ["b", "c"]
    assert [channel.name for channel, _ in rest] == ["c", "d"]


def test_listed_channels_say_how_many_members_they_have(session):
    alice, bob = make_user(session), make_user(session)
    add_member(session, make_channel(session, "two", owner=alice), bob, "member")
    make_channel(session, "zero")

    rows = list_channels(session, channels_to_list(ANONYMOUS))

    assert {channel.name: members for channel, members in rows} == {"two": 2, "zero": 0}


def test_a_patch_changes_only_what_it_names_and_records_it(session):
    alice = make_user(session)
    channel = make_channel(session, "forge", private=True, owner=alice, ttl=60)

    patch_channel(session, principal_of(alice), channel, {"private": False})

    assert not channel.private
    assert channel.ttl == 60
    event = session.scalars(select(Event)).one()
    assert (event.action, event.before, event.after) == (
        "channel.patch",
        '{"private": true}',
        '{"private": false}',
    )


def test_only_an_owner_makes_a_private_channel_public(session):
    maintainer = make_user(session)
    channel = make_channel(session, private=True)
    add_member(session, channel, maintainer, "maintainer")

    with pytest.raises(RoleRequired, match="owner"):
        patch_channel(session, principal_of(maintainer), channel, {"private": False})

    assert channel.private


def test_a_maintainer_makes_a_public_channel_private(session):
    maintainer = make_user(session)
    channel = make_channel(session)
    add_member(session, channel, maintainer, "maintainer")

    patch_channel(session, principal_of(maintainer), channel, {"private": True})

    assert channel.private


def test_only_the_server_s_maintainers_change_a_size_limit(session):
    owner = make_user(session)
    channel = make_channel(session, owner=owner, size_limit=1000)

    with pytest.raises(RoleRequired, match="on the server"):
        patch_channel(session, principal_of(owner), channel, {"size_limit": None})
    patch_channel(session, make_principal(session, "maintainer"), channel, {"size_limit": None})

    assert channel.size_limit is None


def test_metadata_are_merged_key_by_key(session):
    alice = make_user(session)
    stored = json.dumps({"includelist": ["numpy"], "proxylist": ["scipy"]})
    channel = make_channel(session, owner=alice, channel_metadata=stored)

    patch_channel(
        session,
        principal_of(alice),
        channel,
        {"metadata": {"includelist": ["pandas"], "proxylist": None}},
    )

    assert json.loads(channel.channel_metadata) == {"includelist": ["pandas"]}


def test_a_merge_leaves_no_channel_with_both_lists(session):
    alice = make_user(session)
    channel = make_channel(session, owner=alice, channel_metadata='{"includelist": ["numpy"]}')

    with pytest.raises(BothLists):
        patch_channel(
            session, principal_of(alice), channel, {"metadata": {"excludelist": ["scipy"]}}
        )


def test_all_that_belongs_to_a_channel_goes_with_it_and_its_index_files_follow(session):
    alice = make_user(session)
    channel = make_channel(session, "forge", owner=alice)
    make_file(session, channel)

    delete_channel(session, principal_of(alice), channel)

    assert session.scalar(select(func.count()).select_from(Channel)) == 0
    left = {
        table.name: session.scalar(select(func.count()).select_from(table))
        for table in Base.metadata.sorted_tables
        if "channel_id" in table.columns and table.name not in {"events", "index_superseded"}
    }
    assert set(left.values()) == {0}
    assert session.scalars(select(IndexSuperseded.channel_id)).all() == [channel.id]
    assert events_of(session) == [("channel.delete", "forge")]


def test_a_deleted_channel_s_name_is_free_and_its_id_is_not_used_again(session):
    alice = make_principal(session)
    first = create_channel(session, alice, NewChannel("forge"))
    first_id = first.id
    delete_channel(session, alice, first)

    second = create_channel(session, alice, NewChannel("forge"))

    assert second.id > first_id


def test_a_channel_is_deleted_once(session):
    alice = make_principal(session)
    channel = create_channel(session, alice, NewChannel("forge"))
    delete_channel(session, alice, channel)

    with pytest.raises(ChannelNotFound):
        delete_channel(session, alice, channel)
