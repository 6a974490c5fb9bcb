"""The names of things in a store. No text of a user becomes a path other than through here."""

import re
from dataclasses import dataclass

from quetz.errors import BadName

CHANNEL_WIDE = "_channel"
"""Stands for a subdir in the keys of channel-wide files; no subdir may hold an underscore."""

_KEY = re.compile(
    r"objects/(?P<start>[0-9a-f]{2})/(?P=start)[0-9a-f]{62}"
    r"|index/[1-9][0-9]{0,18}"
    r"/(?:_channel|(?![a-z0-9-]{33})[a-z0-9]+(?:-[a-z0-9]+)*)"
    r"/[a-z0-9][a-z0-9._-]{0,127}"
)


@dataclass(frozen=True, slots=True)
class StoreKey:
    """A checked relative path: ``objects/<ab>/<sha256>`` or ``index/<channel>/<subdir>/<name>``.

    Raises:
        BadName: the text has neither form.
    """

    text: str

    def __post_init__(self) -> None:
        if _KEY.fullmatch(self.text) is None:
            raise BadName("store key", self.text, "it has no form of objects or index files")

    def __str__(self) -> str:
        return self.text


def object_key(sha256: str) -> StoreKey:
    """Name an object by the hash of its bytes, 64 lower-case hex digits.

    Raises:
        BadName: it is no such hash.
    """
    return StoreKey(f"objects/{sha256[:2]}/{sha256}")


def index_key(channel_id: int, subdir: str, name: str) -> StoreKey:
    """Name an index file; ``subdir`` is "" for the files of a whole channel.

    Raises:
        BadName: a part breaks its rule.
    """
    if subdir == CHANNEL_WIDE:
        raise BadName("subdir", subdir, "it stands for the files of a whole channel")
    return StoreKey(f"index/{channel_id}/{subdir or CHANNEL_WIDE}/{name}")


def parse_index_key(text: str) -> StoreKey:
    """Read the text of an index file's key.

    Raises:
        BadName: it is not one.
    """
    if not text.startswith("index/"):
        raise BadName("index key", text, "it must start with index/")
    return StoreKey(text)
