"""What can go wrong with API keys, cookies and the rates of requests."""

from quetz.errors import Conflict, NotAllowed, Unavailable


class VerbRequired(NotAllowed):
    """The key's owner might do the deed, but this key is not good for deeds of its kind."""

    def __init__(self, deed: str, verb: str) -> None:
        super().__init__(
            f"{deed} takes the verb {verb}, which this API key lacks; use one that has it"
        )
        self.verb = verb


class TooManyKeys(Conflict):
    """More keys of a user could not be listed, and so not be found to be revoked."""

    def __init__(self, username: str, most: int) -> None:
        super().__init__(
            f"'{username}' has {most} API keys that are good, and can have no more; revoke some"
        )


class TooOften(Unavailable):
    """Too many requests of one kind came from one place; ``seconds`` later one may come again."""

    def __init__(self, what: str, rate: str, seconds: int) -> None:
        super().__init__(
            f"too many {what}: {rate} are taken from one caller; wait {seconds} s and try again"
        )
        self.seconds = seconds
