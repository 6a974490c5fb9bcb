"""What can go wrong with accounts."""

from quetz.errors import Conflict, NotAllowed, NotFound


class ServiceAccountNotFound(NotFound):
    def __init__(self, username: str) -> None:
        super().__init__(f"there is no service account '{username}'; list them for their names")


class LoginRefused(NotAllowed):
    """A service account acts by its API keys alone."""

    def __init__(self, username: str) -> None:
        super().__init__(f"'{username}' is a service account; use an API key of it")


class KeysInTheWay(Conflict):
    """Whoever made a key of a service account would come by the role that it is given."""

    def __init__(self, username: str, role: str, keys: int) -> None:
        counted = "an API key that is" if keys == 1 else f"{keys} API keys that are"
        super().__init__(
            f"service account '{username}' has {counted} good, which would rise with it to "
            f"{role}; revoke them first, then give the role, then make new ones"
        )
