"""Pages: a part of a list, and how much there is in all."""

from collections.abc import Iterable
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Query
from pydantic import AfterValidator, BaseModel

from quetz.db.queries.windows import Window
from quetz.services.texts import UNSTORABLE

LONGEST_PAGE = 1000
ALL = -1
LAST_ROW = 2**31 - 1

Item = TypeVar("Item")


class Pagination(BaseModel):
    skip: int
    limit: int
    all_records_count: int


class Page(BaseModel, Generic[Item]):
    """One page; ``all_records_count`` counts what the caller may see, on all pages."""

    pagination: Pagination
    result: list[Item]

    @classmethod
    def of(cls, window: Window, count: int, result: Iterable[Item]) -> "Page[Item]":
        limit = ALL if window.limit is None else window.limit
        pagination = Pagination(skip=window.skip, limit=limit, all_records_count=count)
        return cls(pagination=pagination, result=list(result))


async def requested_window(
    skip: Annotated[int, Query(ge=0, le=LAST_ROW)] = 0,
    limit: Annotated[int, Query(ge=ALL, le=LAST_ROW, description="-1 for all")] = 20,
) -> Window:
    return Window(skip, None if limit == ALL else limit)


def _storable(text: str) -> str:
    if UNSTORABLE.search(text):
        raise ValueError("must not hold NUL or a lone surrogate")
    return text


Text = Annotated[str, AfterValidator(_storable)]
WindowDep = Annotated[Window, Depends(requested_window)]
SearchText = Annotated[Text, Query(alias="q", max_length=300, description="part of the name")]
