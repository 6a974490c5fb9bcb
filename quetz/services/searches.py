"""Searches: a line of words and filters, and the packages or channels that it finds.

``NOT numpy AND platform:linux-64,osx-64 channel:-test summary:"fast arrays"``: every part has to
hold. A word is part of a name. A filter holds one of its values, and none of those with ``-``
before them. ``NOT``, or ``-`` before a filter, is the opposite of the whole part. ``AND`` may be
left out; quotes keep spaces, commas and signs as they are.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from sqlalchemy import Row
from sqlalchemy.orm import Session

from quetz.db.models import Package
from quetz.db.queries import searches as queries
from quetz.db.queries.searches import CHANNEL_FILTERS, PACKAGE_FILTERS, Term
from quetz.errors.searches import BadSearch
from quetz.services.permissions import Principal, visible_channels, visible_packages

PACKAGES_FOUND = 50
CHANNELS_FOUND = 1000
MOST_VALUES = 32
MOST_TEXTS = 4
"""How many values the filters of long texts may have together: each reads all of them."""

NAME, PRIVATE = "name", "private"
TEXTS = ("description", "summary")

_PART = re.compile(r'(?:"[^"]*"|[^\s"])+|"')
_VALUE = re.compile(r'(?:"[^"]*"|[^,"])+')
_FILTER = re.compile(r"(-?)([A-Za-z_]+):(.*)", re.DOTALL)


def search_packages(
    session: Session, principal: Principal, text: str
) -> Sequence[Row[Package, str]]:
    """Return the first hits, each with the name of its channel.

    Raises:
        BadSearch: the text is not in the language of searches.
    """
    terms = parse_search(text, PACKAGE_FILTERS)
    seen = visible_packages(principal)
    return queries.search_packages(session, seen, terms, limit=PACKAGES_FOUND)


def search_channels(
    session: Session, principal: Principal, text: str
) -> Sequence[Row[str, str | None, bool]]:
    """Return (name, description, private) of the first hits by name.

    Raises:
        BadSearch: the text is not in the language of searches.
    """
    terms = parse_search(text, CHANNEL_FILTERS)
    seen = visible_channels(principal)
    return queries.search_channels(session, seen, terms, limit=CHANNELS_FOUND)


def parse_search(text: str, filters: Collection[str]) -> list[Term]:
    """Return what a search asks for; ``filters`` are those that may stand in it.

    Raises:
        BadSearch: saying what cannot be understood.
    """
    named = ", ".join(f"{key}:" for key in filters if key != NAME)
    try:
        terms = list(_terms(text, filters))
    except ValueError as error:
        raise BadSearch(str(error), named) from None
    if sum(len(term.any_of + term.none_of) for term in terms) > MOST_VALUES:
        raise BadSearch(f"it holds more than {MOST_VALUES} words and values", named)
    if sum(len(term.any_of + term.none_of) for term in terms if term.key in TEXTS) > MOST_TEXTS:
        texts = " and ".join(f"{key}:" for key in TEXTS if key in filters)
        raise BadSearch(f"it holds more than {MOST_TEXTS} values of {texts}", named)
    return terms


def _terms(text: str, filters: Collection[str]) -> Iterator[Term]:
    """Yield a term for each word and filter; ValueError says what is wrong."""
    negated = False
    for part in _PART.findall(text):
        if part == '"':
            raise ValueError("a quote is not closed")
        if part == "NOT":
            negated = not negated
        elif part != "AND":
            term = _term(part, filters)
            yield replace(term, negated=term.negated != negated)
            negated = False
    if negated:
        raise ValueError("nothing follows its last NOT")


def _term(part: str, filters: Collection[str]) -> Term:
    match = _FILTER.fullmatch(part)
    if match is None:
        return Term(NAME, any_of=(_unquoted(part),))
    sign, key, listed = match.groups()
    key = key.lower()
    if key == NAME or key not in filters:
        raise ValueError(f"there is no filter '{key}:'")
    wanted: list[str] = []
    unwanted: list[str] = []
    for value in _VALUE.findall(listed):
        bare = _unquoted(value.removeprefix("-"))
        (unwanted if value.startswith("-") else wanted).append(bare)
    if not all([*wanted, *unwanted]) or not (wanted or unwanted):
        raise ValueError(f"the filter '{key}:' lacks a value")
    if key == PRIVATE and {*wanted, *unwanted} - {"true", "false"}:
        raise ValueError("'private:' is either true or false")
    return Term(key, tuple(wanted), tuple(unwanted), negated=bool(sign))


def _unquoted(text: str) -> str:
    return text.replace('"', "")
