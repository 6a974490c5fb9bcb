"""File names of packages."""

import re
from dataclasses import dataclass
from typing import Final

from quetz.conda.names import check_package_name
from quetz.conda.versions import version_fault
from quetz.errors import BadFilename, BadName

SUFFIXES: Final = (".conda", ".tar.bz2")

_PATTERN: Final = re.compile(
    r"(?P<name>.+)-(?P<version>[^-]+)-(?P<build>[^-]+)(?P<suffix>\.conda|\.tar\.bz2)"
)
_BUILD: Final = re.compile(r"[a-zA-Z0-9_.+]{1,64}")
_LENGTH: Final = 211


@dataclass(frozen=True)
class PackageFilename:
    """The parts of a file name such as ``numpy-2.1.0-py312h1_0.conda``."""

    name: str
    version: str
    build: str
    suffix: str

    @classmethod
    def parse(cls, filename: str) -> "PackageFilename":
        """Split ``filename`` into its parts.

        A name may hold dashes, a version or a build may not, so the last two dashes are the
        ones that split (CEP 26, "Identifying package artifacts").

        Raises:
            BadFilename: a part is missing or breaks its rule, or the suffix is unknown.
        """
        match = _PATTERN.fullmatch(filename) if len(filename) <= _LENGTH else None
        if match is None:
            raise BadFilename(filename)
        parts = cls(**match.groupdict())
        try:
            check_package_name(parts.name)
        except BadName as error:
            raise BadFilename(filename, str(error)) from None
        if fault := version_fault(parts.version):
            raise BadFilename(filename, f"version {parts.version!r}: {fault}")
        if not _BUILD.fullmatch(parts.build):
            raise BadFilename(
                filename, "a build is 1 to 64 letters, digits, '_', '.' or '+' characters"
            )
        return parts

    def __str__(self) -> str:
        return self.stem + self.suffix

    @property
    def stem(self) -> str:
        """The name without its suffix, such as ``numpy-2.1.0-py312h1_0``."""
        return f"{self.name}-{self.version}-{self.build}"


def name_of_file(filename: str) -> str:
    """Return the package name in a file name that is known to be one, without checking it."""
    return filename.rsplit("-", 2)[0]
