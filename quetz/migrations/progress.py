"""What whoever migrates is told meanwhile."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

Event = Literal["waiting", "backup", "backed-up", "step", "stepped", "verifying", "warning", "done"]


@dataclass(frozen=True)
class Progress:
    """Something that happens: ``facts`` holds the sentence's parts, as JSON may."""

    event: Event
    sentence: str
    facts: dict[str, Any] = field(default_factory=dict)


Watch = Callable[[Progress], None]


def silent(_progress: Progress) -> None:
    """Tell nobody."""
