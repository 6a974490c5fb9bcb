"""Searches: packages and channels by what they say of themselves."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, exists, func, not_, or_, select, true
from sqlalchemy.orm import Session

from quetz.db.models import Channel, File, Package
from quetz.db.queries.windows import contains, folded


@dataclass(frozen=True)
class Term:
    """What one filter asks for: some of ``any_of``, if there are any, and none of ``none_of``.

    ``negated``: the opposite of both together.
    """

    key: str
    any_of: tuple[str, ...] = ()
    none_of: tuple[str, ...] = ()
    negated: bool = False


Filters = Mapping[str, Callable[[str], ColumnElement[bool]]]


def _says(column: Any) -> Callable[[str], ColumnElement[bool]]:
    text = func.coalesce(column, "")  # NULL is neither like a text nor unlike it

    def says(value: str) -> ColumnElement[bool]:
        literal = value.replace("/", "//").replace("%", "/%").replace("_", "/_")
        return folded(text).like(folded(f"%{literal}%"), escape="/")

    return says


def _has_files_for(subdir: str) -> ColumnElement[bool]:
    """Return the condition that a subdir offers a file of the package: one that is not yanked."""
    return exists().where(
        File.channel_id == Package.channel_id,
        File.subdir == subdir,
        File.name == Package.name,
        File.yanked_at.is_(None),
    )


PACKAGE_FILTERS: Filters = {
    "name": lambda value: contains(Package.name, value),
    "channel": lambda value: contains(Channel.name, value),
    "description": _says(Package.description),
    "summary": _says(Package.summary),
    "platform": _has_files_for,
}
CHANNEL_FILTERS: Filters = {
    "name": lambda value: contains(Channel.name, value),
    "description": _says(Channel.description),
    "private": lambda value: Channel.private == (value == "true"),
}


def search_packages(
    session: Session, seen: ColumnElement[bool], terms: Iterable[Term], *, limit: int
) -> Sequence[Row[Package, str]]:
    """Return (package, channel name) by name, then by channel; ``seen`` says what may show."""
    found = (
        select(Package.id)
        .join(Channel, Channel.id == Package.channel_id)
        .where(seen, *_conditions(PACKAGE_FILTERS, terms))
        .order_by(Package.name, Channel.name)
        .limit(limit)
    )
    query = (
        select(Package, Channel.name)
        .join(Channel, Channel.id == Package.channel_id)
        .where(Package.id.in_(found))
        .order_by(Package.name, Channel.name)
    )
    return session.execute(query).all()


def search_channels(
    session: Session, seen: ColumnElement[bool], terms: Iterable[Term], *, limit: int
) -> Sequence[Row[str, str | None, bool]]:
    """Return (name, description, private) by name; ``seen`` says which may show."""
    query = (
        select(Channel.name, Channel.description, Channel.private)
        .where(seen, *_conditions(CHANNEL_FILTERS, terms))
        .order_by(Channel.name)
        .limit(limit)
    )
    return session.execute(query).all()


def _conditions(filters: Filters, terms: Iterable[Term]) -> Iterable[ColumnElement[bool]]:
    for term in terms:
        condition = filters[term.key]
        holds = and_(true(), *(~condition(value) for value in term.none_of))
        if term.any_of:
            holds = and_(or_(*map(condition, term.any_of)), holds)
        yield not_(holds) if term.negated else holds
