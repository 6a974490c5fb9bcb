"""How the readers of one archive say what is wrong with it."""


class Fault(ValueError):
    """A rule that a member or key of an archive breaks; ``read_archive`` adds the file name."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason
