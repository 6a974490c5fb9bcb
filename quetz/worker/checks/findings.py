"""What a check finds, and what it is given to look at."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from quetz.deployment import Deployment
from quetz.services.repairs import Repair


class Severity(StrEnum):
    """How bad it is: an error is wrong, a warning may be right, and an info is no fault."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True)
class Finding:
    """What breaks an invariant, on what, and what to do; ``repair`` mends it, if that is known."""

    invariant: str
    severity: Severity
    subject: str
    what: str
    advice: str
    repair: Repair | None = None


@dataclass
class Ground:
    """What is looked at. ``looked_at`` counts it; ``step`` hears of files that were looked at."""

    deployment: Deployment
    deep: bool = False
    step: Callable[[int], None] = lambda _: None
    looked_at: Counter[str] = field(default_factory=Counter)


Check = Callable[[Ground], Iterator[Finding]]
"""Holds no transaction while it yields what may be repaired: that is done before it goes on."""
