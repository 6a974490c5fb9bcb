"""Solve, install and look into packages with py-rattler.

Reads a request from standard input and writes the answer to standard output:
``{"solve": {"channel": url, "specs": [...], "platforms": [...], "form": "shards", ...}}`` gives
``[{"url": ..., "name": ..., "version": ..., ...}]``, and installs it when given a ``prefix``;
``{"peek": {"url": url, "path": "info/index.json"}}`` gives ``[how it was read, the file's text]``.
"""

import asyncio
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rattler import Client, Gateway, SourceConfig, Subdir, install, solve
from rattler.package_streaming import PackageArchive

FORMS = {
    "shards": SourceConfig(),
    "zst": SourceConfig(sharded_enabled=False),
    "json": SourceConfig(sharded_enabled=False, zstd_enabled=False, bz2_enabled=False),
}


async def run(request: dict[str, Any]) -> list[Any]:
    # A gateway without a client of its own would send no credentials.
    client = Client.default_client()
    if "peek" in request:
        archive = await PackageArchive.from_url(client, request["peek"]["url"])
        content = await archive.read_file(request["peek"]["path"])
        return [archive.access, content and content.decode()]
    return await solve_and_install(client, **request["solve"])


async def solve_and_install(
    client: Client,
    *,
    channel: str,
    specs: list[str],
    platforms: list[str],
    form: str,
    indexed_before: float | None,
    prefix: str | None,
) -> list[dict[str, Any]]:
    cache = Path(os.environ["RATTLER_CACHE_DIR"])
    cutoff = None if indexed_before is None else datetime.fromtimestamp(indexed_before, UTC)
    records = await solve(
        [channel],
        specs,
        gateway=Gateway(cache / "repodata", default_config=FORMS[form], client=client),
        platforms=[Subdir(platform) for platform in platforms],
        exclude_newer=cutoff,
        timestamp_policy="require-indexed-timestamp",
    )
    if prefix is not None:
        await install(
            records,
            target_prefix=prefix,
            cache_dir=cache / "pkgs",
            platform=Subdir(platforms[0]),
            client=client,
            show_progress=False,
        )
    return [{**json.loads(record.to_json()), "url": record.url} for record in records]


def main() -> None:
    code = 1
    try:
        json.dump(asyncio.run(run(json.load(sys.stdin))), sys.stdout)
        code = 0
    except Exception as error:  # noqa: BLE001  whatever it was, the caller shall read it
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # py-rattler 0.28 was seen to abort when the interpreter ends by itself


if __name__ == "__main__":
    main()
