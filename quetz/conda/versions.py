"""Version literals and their order (CEP 33)."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from rattler import Version
from rattler.exceptions import InvalidVersionError

_LITERAL: Final = re.compile(
    r"""
    (?P<epoch>[0-9]+!)?
    [a-z0-9]+ ([._][a-z0-9]+)* _?
    (?P<local>\+ [a-z0-9]+ ([._][a-z0-9]+)* _?)?
    """,
    re.VERBOSE,
)
_DIGITS: Final = re.compile(r"[0-9]+")
_LENGTH: Final = 64
_LARGEST_NUMBER: Final = 2**31 - 1


def version_fault(version: str) -> str | None:
    """Say which rule a version breaks, or None.

    Lower case, 64 characters (CEP 26); epoch, segments, local part, numbers (CEP 33).
    """
    if len(version) > _LENGTH:
        return f"longer than {_LENGTH} characters"
    if not _LITERAL.fullmatch(version):
        return "not a version literal such as 1.2.3, 1!2.0 or 1.0+local"
    if any(int(digits) > _LARGEST_NUMBER for digits in _DIGITS.findall(version)):
        return f"holds a number above {_LARGEST_NUMBER}"
    try:
        Version(version)
    except InvalidVersionError as error:
        return str(error)
    return None


# Reading a text takes longer than comparing two versions, and lists read the same ones again.
parse_version = lru_cache(maxsize=20_000)(Version)


def sorted_versions(versions: Iterable[str]) -> list[str]:
    """Return the versions, oldest first; equal ones (1.0, 1.0.0) in the order of their text."""
    return sorted(versions, key=lambda version: (parse_version(version), version))


def newest(versions: Iterable[str]) -> str:
    """Return the greatest version; of equal ones the one with the greater text."""
    return max(versions, key=lambda version: (parse_version(version), version))
