"""``notices.json``: what a channel tells its users (CEP 6)."""


def encode_notices() -> bytes:
    """Return a document without notices: clients take it as "nothing to say"."""
    return b'{"notices":[]}'
