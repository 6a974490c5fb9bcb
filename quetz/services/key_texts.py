"""The text of API keys: how one is made, and what it is taken apart into.

A key is ``qz-<id>-<secret><crc>``: an id of 16 characters that may be shown, 32 random bytes in
base 62 (43 characters), and the CRC-32 of all before it in base 62 (6 characters), so that a
scanner can tell a key from a look-alike. Other characters than letters, digits and dashes would
break ``/t/<token>/`` in conda's clients.
"""

import hashlib
import re
import secrets
import string
import zlib

_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_KEY = re.compile(r"qz-([0-9A-Za-z]{16})-([0-9A-Za-z]{43})([0-9A-Za-z]{6})", re.ASCII)


def new_key_parts() -> tuple[str, str]:
    """Return the public id and the secret of a new key."""
    public_id = "".join(secrets.choice(_DIGITS) for _ in range(16))
    return public_id, _base62(secrets.randbits(256), 43)


def key_text(public_id: str, secret: str) -> str:
    text = f"qz-{public_id}-{secret}"
    return text + _checksum(text)


def parse_key(text: str) -> tuple[str, str] | None:
    """Split a key into id and secret; None when it is malformed or its checksum is wrong."""
    match = _KEY.fullmatch(text)
    if match is None or _checksum(text[:-6]) != match[3]:
        return None
    return match[1], match[2]


def digest(secret: str) -> str:
    """Hash a secret; a fast hash is right for 256 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _checksum(text: str) -> str:
    return _base62(zlib.crc32(text.encode()), 6)


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
