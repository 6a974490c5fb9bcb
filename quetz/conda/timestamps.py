"""Build times: milliseconds by CEP 34, seconds in old packages."""

from typing import Final

# The last second of the year 9999, as a client tells the two units apart.
_LAST_SECOND: Final = 253_402_300_799


def to_seconds(timestamp: int) -> int:
    """Return a build time, in whichever unit, as Unix seconds."""
    return timestamp // 1000 if timestamp > _LAST_SECOND else timestamp
