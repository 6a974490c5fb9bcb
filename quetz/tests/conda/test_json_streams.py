import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quetz.conda.json_streams import JsonStream
from quetz.conda.strict_json import BadJson, decode_strictly

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)
DOCUMENTS = st.dictionaries(TEXTS, VALUES, max_size=5)
SIZES = st.integers(1, 9)


def in_pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def read(data: bytes, size: int, array: str | None = "array") -> dict[str, Any]:
    stream = JsonStream(in_pieces(data, size))
    return {
        key: list(stream.elements()) if key == array else stream.value()
        for key in stream.keys()  # noqa: SIM118 - no dictionary
    }


@given(DOCUMENTS, st.lists(VALUES, max_size=5), SIZES, st.sampled_from([None, 1]), st.booleans())
def test_pieces_of_any_size_are_read_as_the_whole(document, array, size, indent, ascii_only):
    whole = document | {"array": array}
    data = json.dumps(whole, indent=indent, ensure_ascii=ascii_only).encode()

    assert read(data, size) == whole


@given(DOCUMENTS, st.integers(0), st.binary(max_size=3), SIZES)
def test_a_changed_document_is_read_as_strictly_as_at_once(document, place, new, size):
    data = json.dumps(document).encode()
    start = place % len(data)
    data = data[:start] + new + data[start + 1 :]

    assert read_or_refuse(data, size) == decode_or_refuse(data)


def read_or_refuse(data: bytes, size: int) -> Any:
    try:
        return read(data, size, array=None)
    except BadJson:
        return None


def decode_or_refuse(data: bytes) -> Any:
    try:
        value = decode_strictly(data)
    except BadJson:
        return None
    return value if isinstance(value, dict) else None


def test_long_documents_are_let_go_of_value_by_value():
    array = ["x" * 60_000, {"y": "é" * 60_000}, 1.5e-7, *range(100_000)]
    data = json.dumps({"array": array, "z": 1}, ensure_ascii=False).encode()

    assert read(data, 1 << 12) == {"array": array, "z": 1}


@pytest.mark.parametrize("size", [1 << 10, 1 << 20])
@pytest.mark.parametrize("behind", ["", " " * 200_000])
def test_a_value_may_have_65536_characters(size, behind):
    text = "x" * (65_536 - 2)

    assert read(json.dumps({"a": text}).encode() + behind.encode(), size) == {"a": text}
    with pytest.raises(BadJson, match="longer than 65536 characters"):
        read(json.dumps({"a": f"{text}x"}).encode() + behind.encode(), size)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"[]", "expected '{' at character 0, found '\\['"),
        (b'{"a" 1}', "expected ':' at character 5, found '1'"),
        (b'{"a": 1', "expected ',' or '}' at character 7, found the end"),
        (b'{"a": 1}\n{}', "'{' follows its end, at character 9"),
        (b'{"a": 1, "a": 2}', "'a' stands twice"),
        (b'{"array": {}}', "expected '\\[' at character 10"),
        (b'{"array": [1, tru]}', "Expecting value, at character 14"),
        (b'{"a": "\xe9"}', "not UTF-8"),
        (b'{"a": "\xc3', "not UTF-8"),
        (b'{"a": "\\u0000"}', "NUL"),
    ],
)
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_what_is_wrong_is_named_with_its_place(data, reason, size):
    with pytest.raises(BadJson, match=reason):
        read(data, size)
