"""Empty indexes: what there is of a subdir that never held a package, from a channel's start."""

from collections.abc import Callable
from typing import Final

from quetz.conda.channeldata import channeldata_texts
from quetz.conda.repodata import encode_repodata
from quetz.conda.run_exports import encode_run_exports
from quetz.conda.shards import encode_shard_index
from quetz.services.publishing import (
    CHANNELDATA_ZST,
    FROM_PACKAGES_ZST,
    REPODATA_ZST,
    RUN_EXPORTS_ZST,
    SHARD_INDEX,
)

EMPTY: Final[dict[str, Callable[[str, int], bytes]]] = {
    SHARD_INDEX: lambda subdir, created_at: encode_shard_index(subdir, created_at, {}),
    REPODATA_ZST: lambda subdir, _: encode_repodata(subdir, []),
    FROM_PACKAGES_ZST: lambda subdir, _: encode_repodata(subdir, []),
    RUN_EXPORTS_ZST: lambda subdir, _: encode_run_exports(subdir, []),
    CHANNELDATA_ZST: lambda *_: b"".join(channeldata_texts([])),
}
"""By form, the content before compression, of a subdir and when its channel was made (Unix ms)."""
