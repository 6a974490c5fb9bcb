"""What can be wrong with a search, a page's cursor, or what is asked of the download counts."""

from quetz.errors import Invalid


class BadSearch(Invalid):
    """A search is not written in the language of searches."""

    def __init__(self, fault: str, filters: str) -> None:
        super().__init__(
            f"this search cannot be made: {fault}; write words, NOT before a word, and the "
            f"filters {filters} with a comma between values"
        )


class BadCursor(Invalid):
    def __init__(self) -> None:
        super().__init__(
            "'after' is no cursor of this list; take it from 'next' of the page before, "
            "or leave it out to begin anew"
        )


class TooManyCounts(Invalid):
    """An answer would hold more counts than are sent at once."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"more than {most} counts are asked for; name a longer period, a platform, "
            "or a start and an end that are closer together"
        )
