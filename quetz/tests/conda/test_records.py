import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quetz.conda.archives import PackageArchive, read_archive
from quetz.conda.filenames import PackageFilename
from quetz.conda.records import encode_record
from quetz.testing.packages import build_package

STORED: dict[str, Any] = {
    "size": 10,
    "md5": "0" * 32,
    "sha256": "f" * 64,
    "indexed_timestamp": 1_700_000_000_000,
}
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)


def archive_of(index):
    return PackageArchive(PackageFilename.parse("pkg-1.0-0.conda"), "noarch", index, {}, {})


@given(st.dictionaries(TEXTS.filter(lambda key: key not in {"url", "attestations_sha256"}), VALUES))
def test_a_record_keeps_every_field_and_adds_what_is_stored(index):
    record = encode_record(archive_of(index), **STORED)

    assert json.loads(record) == index | STORED


@given(st.dictionaries(TEXTS, VALUES), st.randoms())
def test_equal_fields_give_equal_text(index, random):
    shuffled = list(index.items())
    random.shuffle(shuffled)

    record = encode_record(archive_of(dict(shuffled)), **STORED)

    assert record == encode_record(archive_of(index), **STORED)


def test_a_record_is_sorted_compact_and_not_escaped():
    record = encode_record(archive_of({"z": "é", "a": [1, {"y": 1, "b": 2}]}), **STORED)

    assert record.startswith('{"a":[1,{"b":2,"y":1}],"indexed_timestamp":')
    assert record.endswith(',"size":10,"z":"é"}')


@pytest.mark.parametrize("key", ["size", "md5", "sha256", "indexed_timestamp"])
def test_what_a_package_says_of_its_own_bytes_does_not_count(tmp_path, key):
    index_fields: dict[str, Any] = {key: "a lie"}
    path = build_package(tmp_path, **index_fields)

    record = json.loads(encode_record(read_archive(path, path.name), **STORED))

    assert record[key] == STORED[key]


@pytest.mark.parametrize("key", ["url", "attestations_sha256"])
def test_a_package_cannot_send_clients_elsewhere(tmp_path, key):
    index_fields: dict[str, Any] = {key: "https://example.org/other.conda"}
    path = build_package(tmp_path, **index_fields)

    record = json.loads(encode_record(read_archive(path, path.name), **STORED))

    assert key not in record
