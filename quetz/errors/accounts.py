"""What can go wrong with accounts."""

from quetz.errors import NotAllowed, NotFound


class ServiceAccountNotFound(NotFound):
    def __init__(self, username: str) -> None:
        super().__init__(f"there is no service account '{username}'; list them for their names")


class LoginRefused(NotAllowed):
    """A service account acts by its API keys alone."""

    def __init__(self, username: str) -> None:
        super().__init__(f"'{username}' is a service account; use an API key of it")
