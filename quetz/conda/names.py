"""Names of packages, subdirs, channels and users, and the rules they keep."""

import re
from typing import Final

from quetz.errors import BadName

_PACKAGE: Final = re.compile(r"(([a-z0-9])|([a-z0-9_](?!_)))[._-]?([a-z0-9]+(\.|-|_|$))*")
_TWO_SEPARATORS: Final = re.compile(r"[._-]{2}")
_PACKAGE_LENGTH: Final = 64
_SUBDIR: Final = re.compile(r"[a-z0-9]+-[a-z0-9]+")
_SUBDIR_LENGTH: Final = 32
# Those that clients look for at the end of a channel's URL, to cut them off.
_KNOWN_SUBDIR: Final = re.compile(
    "noarch|osx-(64|arm64)|win-(32|64|arm64)|freebsd-64|(emscripten|wasi)-wasm32|zos-z|linux-"
    "(32|64|aarch64|armv[67]l|loongarch64|ppc|ppc64|ppc64le|riscv32|riscv64|s390x)"
)
_CHANNEL: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,49}")
_USERNAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_NOT_IN_USERNAME: Final = re.compile(r"[^A-Za-z0-9._@-]+")
USERNAME_LENGTH: Final = 64


def check_package_name(name: str) -> None:
    """Check the name of a distributable package (CEP 26, "Package names").

    One leading ``_`` is allowed; two mark a virtual package, which exists on clients only.

    Raises:
        BadName: the name breaks a rule.
    """
    if len(name) > _PACKAGE_LENGTH:
        raise BadName("package", name, f"at most {_PACKAGE_LENGTH} characters")
    if name.startswith("__"):
        raise BadName("package", name, "two leading underscores mark virtual packages")
    if not _PACKAGE.fullmatch(name) or _TWO_SEPARATORS.search(name):
        raise BadName(
            "package", name, "lower-case letters and digits, with single '.', '-' or '_' between"
        )


def is_subdir(text: str) -> bool:
    """Tell whether ``text`` has the shape of a subdir: noarch, linux-64 (CEP 26)."""
    return text == "noarch" or (len(text) <= _SUBDIR_LENGTH and _SUBDIR.fullmatch(text) is not None)


def check_subdir(name: str) -> None:
    """Check the name of a subdir. Unknown platforms are fine (CEP 26, "Subdir names").

    Raises:
        BadName: the name is neither noarch nor shaped like <os>-<arch>.
    """
    if not is_subdir(name):
        raise BadName(
            "subdir", name, f"'noarch' or <os>-<arch>, at most {_SUBDIR_LENGTH} characters"
        )


def normal_channel_name(name: str) -> str:
    """Return the name in lower case, as it is stored and looked up.

    The name of a subdir would make URLs ambiguous (CEP 26, "Channel base URLs"). By its words any
    name of two parts is out, such as conda-forge; here those are that clients take for subdirs.

    Raises:
        BadName: the name breaks a rule.
    """
    normal = name.lower()
    if not name.isascii() or not _CHANNEL.fullmatch(normal):
        raise BadName(
            "channel", name, "1 to 50 letters, digits, '.' or '-', the first a letter or digit"
        )
    if _KNOWN_SUBDIR.fullmatch(normal):
        raise BadName("channel", name, "it is the name of a subdir")
    return normal


def check_username(name: str) -> None:
    """Check the name of a user.

    Raises:
        BadName: the name breaks a rule.
    """
    if not _USERNAME.fullmatch(name):
        raise BadName(
            "user",
            name,
            "1 to 64 letters, digits, '.', '_', '@' or '-', the first a letter or digit",
        )


def username_like(text: str) -> str:
    """Return a user name that is as near to ``text`` as the rule allows."""
    return _NOT_IN_USERNAME.sub("-", text).lstrip("._@-")[:USERNAME_LENGTH] or "user"
