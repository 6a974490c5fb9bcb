"""Keep secrets out of logs and error messages."""

import json
import logging
import re
from typing import Any

from quetz.errors.redaction import redact_keys

_VALUE = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s&]+)"""
# With a text that each match holds in lower case, as for keys.
_PASSWORDS = [
    # The password of a URL; to the last @, which a password may hold.
    ("://", re.compile(r"(://[^\s/:@]*:)\S*@"), r"\1***@"),
    # The same with blanks, of the databases that there are; to the last @ of the line.
    ("://", re.compile(r"((?:postgres|sqlite)[\w+]*://[^\s/:@]*:).*@"), r"\1***@"),
    # As in a connection string, and in what Python prints of a dictionary.
    ("word", re.compile(rf"(password(?:=|[\"']: )){_VALUE}", re.IGNORECASE), r"\1***"),
]
# What ends a line, moves the cursor, or turns the direction of writing (UAX #9): C0, DEL, C1,
# separators of lines, and marks of direction.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
_CONTROLS |= {
    code: f"\\u{code:04x}"
    for code in (0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
}


def redact(text: str) -> str:
    """Replace API keys, cookies, tokens and passwords in ``text``."""
    text = redact_keys(text)
    for literal, pattern, replacement in _PASSWORDS:
        if literal in text.lower():
            text = pattern.sub(replacement, text)
    return text


def plain(text: str) -> str:
    """Write characters that would steer a terminal as escapes."""
    if text.isascii() and text.isprintable():  # so is nearly every line of a log
        return text
    return text.translate(_CONTROLS)


def json_of(
    document: Any, indent: int | None = None, *, results: dict[str, str] | None = None
) -> str:
    """Write JSON whose texts are redacted, each before its quotes and escapes are added.

    ``results`` are more keys of it, with secrets that somebody asked for.
    """
    redacted = _redacted(document)
    return json.dumps(redacted if results is None else redacted | results, indent=indent)


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        is_path = value.startswith("/")  # to a file, which has to be found by it
        return value if is_path else redact(value)
    if isinstance(value, dict):
        return {key: _redacted(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(one) for one in value]
    return value


class RedactingFormatter(logging.Formatter):
    """Redacts the whole line or traceback, wherever the secret came from."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class AccessFormatter(logging.Formatter):
    """For records with ``lines`` that hold a client's path: none can forge or hide another.

    Each is redacted by itself, or the next ones could be taken for a part of its secret.
    """

    def format(self, record: logging.LogRecord) -> str:
        lines: list[str] = vars(record)["lines"]
        return "\n".join(plain(redact(line)) for line in lines)
