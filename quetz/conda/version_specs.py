"""Version specifications, such as ``>=1.2,<2``."""

from collections.abc import Iterable

from rattler import Version, VersionSpec
from rattler.exceptions import InvalidVersionSpecError

from quetz.errors import BadVersionSpec


def matching_versions(text: str, versions: Iterable[str]) -> set[str]:
    """Return those of ``versions`` that meet the specification.

    Raises:
        BadVersionSpec: ``text`` is no specification.
    """
    try:
        spec = VersionSpec(text)
    except InvalidVersionSpecError:
        raise BadVersionSpec(text) from None
    return {version for version in versions if spec.matches(Version(version))}
