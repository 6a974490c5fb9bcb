import pytest
from sqlalchemy import event, select

from quetz.db.models import File, User
from quetz.testing.factories import add_member, make_channel, make_file, make_package

PACKAGES, CHANNELS = "/api/packages/search/", "/api/channels/search/"


@pytest.fixture
def world(deployment):
    """Three channels: two public ones, and a private one."""
    with deployment.transaction(write=True) as session:
        forge = make_channel(session, "forge", description="All Packages")
        make_package(session, forge, "numpy", summary="Fast arrays", description="100% arrays")
        make_package(session, forge, "numpy-base", summary="Arrays, without tests")
        make_package(session, forge, "scipy", url="https://example.org")
        make_file(session, forge, "numpy-1.9-0.conda", subdir="linux-64")
        make_file(session, forge, "numpy-1.10-0.conda")
        make_file(session, forge, "scipy-1.0-0.conda", subdir="osx-64")
        test = make_channel(session, "test-forge")
        make_file(session, test, "numpy-2.0-0.conda")
        closed = make_channel(session, "closed", description="Ours", private=True)
        make_package(session, closed, "numpy-secret")
        make_package(session, closed, "pillow-secret")


def found(client, query):
    answer = client.get(PACKAGES, params={"q": query})
    assert answer.status_code == 200, answer.text
    return [f"{package['channel_name']}/{package['name']}" for package in answer.json()]


def channels_found(client, query):
    answer = client.get(CHANNELS, params={"q": query})
    assert answer.status_code == 200, answer.text
    return [channel["name"] for channel in answer.json()]


@pytest.mark.usefixtures("world")
def test_a_hit_is_a_package_with_the_name_of_its_channel(anonymous):
    hit = anonymous.get(PACKAGES, params={"q": "numpy channel:forge -channel:test NOT base"}).json()

    package = anonymous.get("/api/channels/forge/packages/numpy").json()
    assert hit == [package | {"channel_name": "forge"}]
    assert hit[0]["current_version"] == "1.10"


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["forge/numpy", "test-forge/numpy", "forge/numpy-base", "forge/scipy"]),
        ("num NOT channel:zzz,-yyy", ["forge/numpy", "test-forge/numpy", "forge/numpy-base"]),
        ("num -channel:forge,-test", ["test-forge/numpy"]),
        ("NOT -channel:test,-yyy", ["test-forge/numpy"]),
        ("NUM", ["forge/numpy", "test-forge/numpy", "forge/numpy-base"]),
        ("num AND base", ["forge/numpy-base"]),
        ("num base", ["forge/numpy-base"]),
        ("NOT num", ["forge/scipy"]),
        ("NOT NOT scipy", ["forge/scipy"]),
        ("channel:test", ["test-forge/numpy"]),
        ("channel:forge,-test numpy", ["forge/numpy", "forge/numpy-base"]),
        ("NOT channel:test numpy", ["forge/numpy", "forge/numpy-base"]),
        ("-channel:test numpy", ["forge/numpy", "forge/numpy-base"]),
        ("CHANNEL:TEST", ["test-forge/numpy"]),
        ("summary:arrays", ["forge/numpy", "forge/numpy-base"]),
        ("summary:-arrays", ["test-forge/numpy", "forge/scipy"]),
        ('summary:"arrays, without"', ["forge/numpy-base"]),
        ("summary:fast,without", ["forge/numpy", "forge/numpy-base"]),
        ("description:100%", ["forge/numpy"]),
        ("description:1%arrays", []),
        ("n_mpy", []),
        ("platform:linux-64", ["forge/numpy"]),
        ("platform:linux-64,osx-64", ["forge/numpy", "forge/scipy"]),
        ("platform:noarch,-linux-64", ["test-forge/numpy"]),
        ("platform:linux", []),
        ('"NOT"', []),
        ('"numpy-base"', ["forge/numpy-base"]),
        ("secret", []),
        ("channel:closed", []),
        ("\N{SNOWMAN}\U0001f40d ﷽", []),
    ],
)
def test_packages_are_found_by_words_and_filters(anonymous, query, names):
    assert found(anonymous, query) == names


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["forge", "test-forge"]),
        ("FORGE NOT test", ["forge"]),
        ("description:all", ["forge"]),
        ("description:-all", ["test-forge"]),
        ("private:true", []),
        ("private:false", ["forge", "test-forge"]),
        ("-private:true test", ["test-forge"]),
    ],
)
def test_channels_are_found_by_words_and_filters(anonymous, query, names):
    assert channels_found(anonymous, query) == names


@pytest.mark.usefixtures("world")
def test_a_found_channel_has_three_keys(anonymous):
    answer = anonymous.get(CHANNELS, params={"q": "description:packages"})

    assert answer.json() == [{"name": "forge", "description": "All Packages", "private": False}]


@pytest.mark.parametrize("path", [PACKAGES, CHANNELS])
@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("license:MIT", "no filter 'license:'"),
        ("name:numpy", "no filter 'name:'"),
        ("description:", "lacks a value"),
        ("description:a,-", "lacks a value"),
        ("description:,", "lacks a value"),
        ("numpy NOT", "nothing follows"),
        ('"numpy', "quote is not closed"),
        ("a " * 33, "more than 32"),
        ("description:a,-b,c -description:d,e", "more than 4 values of description:"),
    ],
)
def test_what_is_no_search_is_refused_with_a_sentence(anonymous, path, query, told):
    answer = anonymous.get(path, params={"q": query})

    assert answer.status_code == 422
    assert told in answer.json()["detail"]
    assert "description:" in answer.json()["detail"]


def test_a_search_that_is_too_long_is_told_so_in_a_sentence(anonymous):
    answer = anonymous.get(PACKAGES, params={"q": "x" * 1001}).json()

    assert answer["message"] == "query.q: Value should have at most 1000 characters, not 1001"
    assert [fault["msg"] for fault in answer["detail"]] == [answer["message"].partition(": ")[2]]


@pytest.mark.parametrize("path", [PACKAGES, CHANNELS])
@pytest.mark.parametrize(
    "query", ["q=%00", "q=a%00b", f"q={'x' * 1001}", f"q={'description:a,' * 1000}", "q=private:no"]
)
def test_a_hostile_query_is_refused(anonymous, path, query):
    assert anonymous.get(f"{path}?{query}").status_code == 422


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("query", ["%", "_", "\\", "'", "%25%27;--", "\ud7ff", "-", "--", ",", "/"])
def test_odd_characters_stand_for_themselves(anonymous, query):
    packages = found(anonymous, query)

    assert packages == (["forge/numpy-base"] if query == "-" else [])


def test_texts_are_found_in_any_case_of_any_alphabet(anonymous, deployment):
    with deployment.transaction(write=True) as session:
        forge = make_channel(session, "forge", description="ÉTÉ/100%_")
        make_package(session, forge, "anthem", description="Über alles", summary="ЗЕМЛЯ")

    for query in ("description:über", "description:ÜBER", "summary:земля", "summary:Земля"):
        assert found(anonymous, query) == ["forge/anthem"]
    assert found(anonymous, "NOT description:über") == []
    assert channels_found(anonymous, 'description:"été/100%_"') == ["forge"]
    assert channels_found(anonymous, "description:été/100__") == []


@pytest.mark.usefixtures("world")
def test_a_platform_that_offers_only_yanked_files_is_none(anonymous, deployment):
    with deployment.transaction(write=True) as session:
        session.query(File).filter_by(subdir="osx-64").one().yanked_at = 1

    assert found(anonymous, "platform:osx-64") == []
    assert found(anonymous, "platform:linux-64") == ["forge/numpy"]


@pytest.mark.usefixtures("world")
def test_a_role_in_a_package_finds_it_alone(make_client, deployment):
    bob, carol = make_client("bob"), make_client("carol")
    with deployment.transaction(write=True) as session:
        users = {user.username: user for user in session.scalars(select(User))}
        channel = make_channel(session, "secret", private=True)
        add_member(session, channel, users["carol"], "member")
        make_package(session, channel, "bobs", owner=users["bob"])
        make_package(session, channel, "others")

    assert found(bob, "channel:secret") == ["secret/bobs"]
    assert channels_found(bob, "secret") == []
    assert found(carol, "channel:secret") == ["secret/bobs", "secret/others"]
    assert channels_found(carol, "private:true") == ["secret"]


def test_hits_are_bounded_and_take_the_same_number_of_queries(anonymous, deployment):
    with deployment.transaction(write=True) as session:
        channel = make_channel(session, "forge")
        for number in range(60):
            make_package(session, channel, f"package-{number:03}")
    statements = []
    event.listen(
        deployment.engine, "before_cursor_execute", lambda *told: statements.append(told[2])
    )

    counts = []
    for query in ("package-007", "package"):
        statements.clear()
        names = found(anonymous, query)
        counts.append((len(names), len(statements)))

    assert [hits for hits, _ in counts] == [1, 50]
    assert counts[0][1] == counts[1][1]
