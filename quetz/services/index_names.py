"""What the key of an index file tells."""

from quetz.storage.keys import StoreKey, parse_index_key


def gzip_key(key: str) -> StoreKey:
    """Return where the gzip form of a published ``.json.zst`` lies, once a server has made it."""
    return parse_index_key(key.removesuffix(".zst") + ".gz")


def is_shard(key: str) -> bool:
    """Tell whether a key is of a shard, which is named by its hash."""
    stem = key.rpartition("/")[2].partition(".")[0]
    return len(stem) == 64 and "-" not in stem
