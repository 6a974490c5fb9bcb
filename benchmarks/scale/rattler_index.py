"""Index a folder by rattler: ``python -m benchmarks.scale.rattler_index folder`` prints seconds."""

import asyncio
import os
import sys
import time
from pathlib import Path

from rattler.index import index_fs


def main() -> None:
    started = time.perf_counter()
    asyncio.run(_index(Path(sys.argv[1])))
    print(time.perf_counter() - started, flush=True)
    os._exit(0)  # py-rattler 0.28 was seen to abort when the interpreter ends by itself


async def _index(folder: Path) -> None:
    await index_fs(folder, write_zst=True, write_shards=True)


if __name__ == "__main__":
    main()
