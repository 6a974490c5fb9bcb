"""One package more by building all files anew, as channels were indexed before there were shards.

``python -m benchmarks.scale.whole_rebuild repodata.json file-name record``
prints the seconds it took: read the old document, add the record, write it as JSON, bz2 and gzip.
"""

import bz2
import gzip
import json
import sys
import time
from pathlib import Path
from typing import Any


def encode(repodata: dict[str, Any]) -> bytes:
    return json.dumps(repodata, indent=2, sort_keys=True).encode()


def add(path: Path, filename: str, record: dict[str, Any]) -> None:
    """Add a record to the document at ``path``, and write its packed forms beside it."""
    repodata = json.loads(path.read_bytes())
    repodata["packages.conda"][filename] = record
    document = encode(repodata)
    path.write_bytes(document)
    path.with_suffix(".json.bz2").write_bytes(bz2.compress(document, 9))
    path.with_suffix(".json.gz").write_bytes(gzip.compress(document, 9))


def main() -> None:
    path, filename, record = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
    started = time.perf_counter()
    add(path, filename, record)
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
