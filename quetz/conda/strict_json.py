"""JSON from strangers: only what every client reads alike (RFC 8259, section 4 to 9)."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import msgspec

_DEEPEST: Final = 64
_LARGEST: Final = 2**63 - 1
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


class BadJson(ValueError):
    """The bytes are not JSON, or JSON that clients would read differently."""


def decode_strictly(data: bytes) -> Any:
    """Decode ``data``.

    Raises:
        BadJson: not UTF-8 or with a byte order mark; no JSON; NaN or infinity; a key twice in
            one object; a number beyond 63 bits; NUL or half a surrogate pair in a text; deeper
            than 64 levels.
    """
    try:
        text = data.decode()
        value = _DECODER.decode(text)
    except UnicodeDecodeError as error:
        raise BadJson(f"not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise BadJson(f"not JSON: {error}") from None
    except RecursionError:
        raise BadJson(f"deeper than {_DEEPEST} levels") from None
    _check(text, value)
    return value


def decode_at(text: str, start: int) -> tuple[Any, int]:
    """Decode the value that begins at ``start``; return it, and where it ends.

    Raises:
        BadJson: as ``decode_strictly``.
        JSONDecodeError: no JSON, or cut off.
    """
    try:
        value, end = _DECODER.raw_decode(text, start)
    except RecursionError:
        raise BadJson(f"deeper than {_DEEPEST} levels") from None
    _check(text[start:end], value)
    return value, end


def values_in(value: Any) -> Iterator[Any]:
    """Yield a decoded value and all that it holds, keys too, in no order."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        yield value
        if isinstance(value, dict):
            waiting.extend(value.keys())
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = max(counts, key=counts.__getitem__)
        raise BadJson(f"the key {twice[:100]!r} stands twice in one object")
    return members


def _integer(digits: str) -> int:
    # Length first: turning very long digits into an int takes quadratic time.
    if len(digits) > len(str(-_LARGEST)) or abs(int(digits)) > _LARGEST:
        raise BadJson(f"a number is beyond 63 bits: {digits[:30]}")
    return int(digits)


def _real(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise BadJson(f"a number is out of range: {digits[:30]}")
    return number


def _constant(name: str) -> Any:
    raise BadJson(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_real, parse_constant=_constant
)


def _check(text: str, value: Any) -> None:
    _check_depth(text, value)
    _check_escapes(text, value)


def _check_depth(text: str, value: Any) -> None:
    if text.count("[") + text.count("{") <= _DEEPEST:
        return
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise BadJson(f"deeper than {_DEEPEST} levels")


def _check_escapes(text: str, value: Any) -> None:
    """Look for what only an escape can bring in: raw text was checked as UTF-8 and as JSON."""
    if "\\u" not in text:
        return
    escapes = text.replace("\\\\", "")  # so that a backslash left over starts an escape
    if "\\u0000" in escapes:
        raise BadJson("a text holds NUL")
    if _SURROGATE.search(escapes):
        try:
            msgspec.json.encode(value)
        except UnicodeEncodeError:
            raise BadJson("a text holds half a surrogate pair") from None
