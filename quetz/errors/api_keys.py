"""What can go wrong with API keys, cookies and the rates of requests."""

from quetz.errors import NotAllowed, Unavailable


class VerbRequired(NotAllowed):
    """The key's owner might do the deed, but this key is not good for deeds of its kind."""

    def __init__(self, deed: str, verb: str) -> None:
        super().__init__(
            f"{deed} takes the verb {verb}, which this API key lacks; use one that has it"
        )
        self.verb = verb


class TooOften(Unavailable):
    """Too many requests of one kind came from one place; ``seconds`` later one may come again."""

    def __init__(self, what: str, rate: str, seconds: int) -> None:
        super().__init__(
            f"too many {what}: {rate} are taken from one caller; wait {seconds} s and try again"
        )
        self.seconds = seconds
