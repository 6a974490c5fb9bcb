"""What can be wrong with collecting."""

from quetz.errors import Conflict, Unavailable


class CollectionRunning(Conflict):
    def __init__(self, path: object) -> None:
        super().__init__(
            f"a server or another command is collecting in '{path}'; try again in a minute"
        )


class BytesRemoved(Unavailable):
    def __init__(self) -> None:
        super().__init__(
            "the same bytes were removed from the store a moment ago, as nothing referred to them; "
            "try again"
        )
