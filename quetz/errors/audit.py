"""What can go wrong with the audit log."""

from quetz.errors import Conflict, Invalid


class SealBroken(Conflict):
    """An event was changed, removed or added behind the server's back."""

    def __init__(self, position: int) -> None:
        super().__init__(
            f"the audit log is broken at position {position}: that event was changed or removed "
            f"after it had been sealed, so trust none from {position} on; compare the log with an "
            "earlier backup or export"
        )
        self.position = position


class TwoDirections(Invalid):
    def __init__(self) -> None:
        super().__init__(
            "'since' asks for later events and 'before' for earlier ones; give one of them"
        )
