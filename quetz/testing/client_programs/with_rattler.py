"""Solve and install with py-rattler.

Reads a request from standard input and writes what was solved to standard output:
``{"channel": url, "specs": [...], "platforms": [...], "form": "shards", "prefix": path}``
gives ``[{"url": ..., "name": ..., "version": ..., ...}]``. Without ``prefix`` nothing is installed.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from rattler import Client, Gateway, RepoDataRecord, SourceConfig, Subdir, install, solve

FORMS = {
    "shards": SourceConfig(),
    "zst": SourceConfig(sharded_enabled=False),
    "json": SourceConfig(sharded_enabled=False, zstd_enabled=False, bz2_enabled=False),
}


async def run(request: dict[str, Any]) -> list[RepoDataRecord]:
    cache = Path(os.environ["RATTLER_CACHE_DIR"])
    # A gateway without a client of its own would send no credentials.
    client = Client.default_client()
    gateway = Gateway(
        cache_dir=cache / "repodata", default_config=FORMS[request["form"]], client=client
    )
    records = await solve(
        [request["channel"]], request["specs"], gateway=gateway, platforms=request["platforms"]
    )
    if request["prefix"] is not None:
        await install(
            records,
            target_prefix=request["prefix"],
            cache_dir=cache / "pkgs",
            platform=Subdir(request["platforms"][0]),
            client=client,
            show_progress=False,
        )
    return records


def main() -> None:
    code = 1
    try:
        records = asyncio.run(run(json.load(sys.stdin)))
        answer = [{**json.loads(record.to_json()), "url": record.url} for record in records]
        json.dump(answer, sys.stdout)
        code = 0
    except Exception as error:  # noqa: BLE001  whatever it was, the caller shall read it
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # py-rattler 0.28 was seen to abort when the interpreter ends by itself


if __name__ == "__main__":
    main()
