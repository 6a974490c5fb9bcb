import posixpath
import re
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quetz.errors import BadName
from quetz.storage import StoreKey
from quetz.storage.keys import index_key, object_key, parse_index_key

SHA256 = "ab" + "0123456789abcdef" * 3 + "01234567890123"

# Text close to a path: its parts are what a path traversal is made of.
PARTS = [
    "..",
    ".",
    "/",
    "//",
    "\\",
    "\0",
    "%2e",
    "%252e",
    "%2f",
    "~",
    "\n",
    " ",
    "\u2024",
    "\uff0e",
]
hostile = st.lists(
    st.one_of(
        st.sampled_from(PARTS),
        st.sampled_from(["objects", "index", "1", "noarch", "_channel", "a.json", SHA256]),
        st.text(max_size=4),
        st.text(string.ascii_lowercase + string.digits + "._-", max_size=4),
    ),
    max_size=8,
).map("".join)


def assert_is_safe(key: StoreKey):
    text = str(key)
    assert posixpath.normpath(text) == text
    assert re.fullmatch(r"[a-z0-9._/-]+", text, re.ASCII)
    assert text.startswith(("objects/", "index/"))
    assert not any(part.startswith(".") for part in text.split("/"))
    assert all(len(part) <= 128 for part in text.split("/"))


def test_an_object_lies_under_its_first_two_digits():
    assert str(object_key(SHA256)) == f"objects/ab/{SHA256}"


def test_an_index_file_lies_under_channel_and_subdir():
    assert str(index_key(12, "linux-64", "a.json")) == "index/12/linux-64/a.json"


def test_a_channel_wide_file_lies_where_no_subdir_can():
    assert str(index_key(12, "", "a.json")) == "index/12/_channel/a.json"
    with pytest.raises(BadName):
        index_key(12, "_channel", "a.json")


def test_the_text_of_an_index_key_is_read_back():
    key = index_key(12, "noarch", "a.json")

    assert parse_index_key(str(key)) == key


def test_the_text_of_an_object_key_is_no_index_key():
    with pytest.raises(BadName):
        parse_index_key(str(object_key(SHA256)))


@pytest.mark.parametrize(
    "sha256",
    [
        pytest.param("", id="empty"),
        pytest.param(SHA256[:-1], id="short"),
        pytest.param(SHA256 + "0", id="long"),
        pytest.param(SHA256.upper(), id="upper case"),
        pytest.param(SHA256[:-1] + "g", id="not hex"),
        pytest.param(SHA256 + "\n", id="newline"),
        pytest.param("../" + SHA256[3:], id="parent"),
        pytest.param("\u0661" * 64, id="digits of another script"),
    ],
)
def test_what_is_no_hash_names_no_object(sha256):
    with pytest.raises(BadName):
        object_key(sha256)


@pytest.mark.parametrize(
    ("channel_id", "subdir", "name"),
    [
        pytest.param(0, "noarch", "a", id="channel 0"),
        pytest.param(-1, "noarch", "a", id="negative channel"),
        pytest.param(10**19, "noarch", "a", id="huge channel"),
        pytest.param(1, "..", "a", id="parent as subdir"),
        pytest.param(1, "a/b", "a", id="slash in subdir"),
        pytest.param(1, "a" * 33, "a", id="long subdir"),
        pytest.param(1, "noarch-", "a", id="dash at the end"),
        pytest.param(1, "Noarch", "a", id="upper case subdir"),
        pytest.param(1, "noarch\n", "a", id="newline in subdir"),
        pytest.param(1, "noarch", "", id="no name"),
        pytest.param(1, "noarch", "..", id="parent"),
        pytest.param(1, "noarch", ".hidden", id="hidden"),
        pytest.param(1, "noarch", "a/b", id="slash"),
        pytest.param(1, "noarch", "a\0", id="NUL"),
        pytest.param(1, "noarch", "a\n", id="newline"),
        pytest.param(1, "noarch", "A", id="upper case"),
        pytest.param(1, "noarch", "a" * 129, id="long"),
    ],
)
def test_what_breaks_a_rule_names_no_index_file(channel_id, subdir, name):
    with pytest.raises(BadName):
        index_key(channel_id, subdir, name)


@pytest.mark.parametrize("subdir", ["noarch", "linux-64", "emscripten-wasm32", "a" * 32, "a-b-c"])
@pytest.mark.parametrize("name", ["a", "0", "a" * 128, "a..b", "repodata_shards.msgpack.zst"])
def test_what_keeps_the_rules_names_an_index_file(subdir, name):
    assert_is_safe(index_key(1, subdir, name))


@given(hostile)
@example(f"objects/ab/{SHA256}\n")
@example("index/1/noarch/../../../etc/passwd")
def test_no_text_leads_out_of_the_store(text):
    for make in (
        StoreKey,
        parse_index_key,
        object_key,
        lambda text: index_key(1, text, "a.json"),
        lambda text: index_key(1, "noarch", text),
        lambda text: StoreKey(f"objects/{text}"),
        lambda text: StoreKey(f"index/{text}"),
        lambda text: StoreKey(f"index/1/{text}"),
    ):
        try:
            key = make(text)
        except BadName:
            continue
        assert_is_safe(key)
