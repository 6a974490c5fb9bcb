import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quetz.conda.strict_json import BadJson, decode_strictly

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
)


@given(VALUES, st.booleans())
def test_sound_json_is_read_as_it_is(value, ascii_only):
    assert decode_strictly(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary())
def test_any_bytes_are_read_as_json_or_refused(data):
    try:
        value = decode_strictly(data)
    except BadJson:
        return
    assert value == json.loads(data)


@pytest.mark.parametrize(
    "text", [r'"\\u0000"', r'"\\ud800"', r'"\ud83d\ude00"', "[" * 64 + "]" * 64]
)
def test_what_only_looks_bad_is_read(text):
    assert decode_strictly(text.encode()) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (r'"\u0000"', "NUL"),
        (r'"\\\u0000"', "NUL"),
        (r'{"\ud800": 1}', "surrogate"),
        (r'"\\\udc00\ud83d"', "surrogate"),
        ('{"a": 1, "b": {"c": 1, "c": 1}}', "'c' stands twice"),
        ("[" * 65 + "]" * 65, "64 levels"),
        ('{"a":' * 100_000, "64 levels"),
        ("-9223372036854775808", "63 bits"),
        ("1" * 5000, "63 bits"),
        ("1e400", "out of range"),
        ("-Infinity", "is not JSON"),
        ("\ufeff{}", "not JSON"),
        ('"\x1f"', "not JSON"),
    ],
)
def test_what_clients_would_read_differently_is_refused(text, reason):
    with pytest.raises(BadJson, match=reason):
        decode_strictly(text.encode())
