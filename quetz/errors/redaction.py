"""Keep what lets somebody in out of messages, whoever is to read them."""

import re

# With a text that each match holds: to look for that first takes a tenth of the time.
_KEYS = [
    # An API key, wherever it stands. Its id is no secret, but tells nobody anything in a log.
    ("qz-", re.compile(r"\bqz-[A-Za-z0-9]{16}-[A-Za-z0-9]+"), "qz-***"),
    # The cookie of a login, and its token against forged requests.
    ("qz", re.compile(r"\b(qz[sc])-[A-Za-z0-9_-]{43,64}"), r"\1-***"),
    # A token in a channel's URL, as conda and mamba send it.
    ("/t/", re.compile(r"/t/[^/\s\"'\\]+"), "/t/***"),
]


def redact_keys(text: str) -> str:
    """Replace API keys, session cookies and tokens in ``text``; JSON stays JSON."""
    for literal, pattern, replacement in _KEYS:
        if literal in text:
            text = pattern.sub(replacement, text)
    return text
