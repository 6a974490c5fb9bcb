"""A channel's records in bulk: as many and as uneven as those of real channels.

A few names have over a thousand files, half of all names eight or fewer; a record has 600 to
650 bytes. The same arguments make the same records.
"""

import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from quetz.conda.texts import encode_json
from quetz.db.base import new_public_id
from quetz.db.models import Channel, File, Package

SUBDIR = "linux-64"
BUILT_AT = 1_700_000_000_000
RECORDS_PER_NAME = 17
ROWS_AT_ONCE = 10_000

_SYLLABLES = [
    "ar",
    "bo",
    "cel",
    "dra",
    "en",
    "fi",
    "gra",
    "hy",
    "in",
    "ju",
    "kel",
    "lib",
    "mo",
    "nu",
    "or",
    "py",
    "qu",
    "ra",
    "sci",
    "ten",
    "um",
    "vox",
]
_DEPENDS = [
    "__glibc >=2.17,<3.0.a0",
    "libgcc >=13",
    "libstdcxx >=13",
    "python_abi 3.12.* *_cp312",
    "zlib >=1.3.1,<2.0a0",
]


@dataclass(frozen=True)
class Build:
    """One package file as the channel knows it; ``record`` is what repodata says of it."""

    name: str
    filename: str
    record: dict[str, Any]


def sizes_of_names(count: int) -> list[int]:
    """Return how many records each name has, the largest first, ``count`` in all.

    The rank's power and shift are those of a channel of half a million records, where the
    median is 8 and the largest name has 1,200.
    """
    names = max(1, count // RECORDS_PER_NAME)
    shift = max(1.0, names / 1050)
    weights = [(rank + shift) ** -0.8 for rank in range(names)]
    scale = count / sum(weights)
    ends = [round(scale * end) for end in accumulate(weights)]
    return [end - start for start, end in pairwise([0, *ends])]


def builds(count: int, *, seed: int = 0) -> Iterator[Build]:
    chance = random.Random(seed)
    for number, size in enumerate(sizes_of_names(count)):
        name = f"{_word(chance, 3)}-{number}"
        for index in range(size):
            yield _build(name, index, chance)


def one_of_each(names: int, *, seed: int = 0) -> Iterator[Build]:
    """Yield as many builds, each of a name of its own."""
    chance = random.Random(seed)
    for number in range(names):
        yield _build(f"{_word(chance, 3)}-{number}", 0, chance)


def insert_channel(session: Session, name: str, count: int) -> tuple[int, Counter[str]]:
    """Add a public channel of ``count`` records by plain inserts, without files in the store.

    Return its id, and how many records each name has.
    """
    return insert_builds(session, name, builds(count))


def insert_builds(
    session: Session, name: str, records: Iterable[Build]
) -> tuple[int, Counter[str]]:
    """Add a public channel of these records as ``insert_channel`` does."""
    sizes: Counter[str] = Counter()
    channel = Channel(name=name)
    session.add(channel)
    session.flush()
    for some in _of_whole_names(records):
        counts = Counter(build.name for build in some)
        sizes += counts
        latest = {build.name: build for build in some}  # the versions of a name go up
        packages = session.connection().scalars(
            insert(Package).returning(Package.id, sort_by_parameter_order=True),
            [_package_row(build, channel.id, counts[build.name]) for build in latest.values()],
        )
        ids = dict(zip(latest, packages, strict=True))
        rows = [_row(build, channel.id, ids[build.name]) for build in some]
        # Without the ORM, which takes as long as the database.
        session.connection().execute(insert(File), rows)
    return channel.id, sizes


def _of_whole_names(builds: Iterable[Build]) -> Iterator[list[Build]]:
    """Yield the builds, some thousands at once, with all of a name together."""
    some: list[Build] = []
    for build in builds:
        if len(some) >= ROWS_AT_ONCE and build.name != some[-1].name:
            yield some
            some = []
        some.append(build)
    yield some


def _word(chance: random.Random, syllables: int) -> str:
    return "".join(chance.choices(_SYLLABLES, k=syllables))


def _build(name: str, index: int, chance: random.Random) -> Build:
    version = f"{1 + index // 40}.{index // 8 % 5}.{index % 8}"
    build = f"py312h{chance.getrandbits(28):07x}_{index % 3}"
    depends = [*_DEPENDS, "python >=3.12,<3.13.0a0"]
    depends += [
        f"{_word(chance, 2)} >={chance.randint(0, 9)}.{chance.randint(0, 30)}" for _ in range(3)
    ]
    record = {
        "arch": "x86_64",
        "build": build,
        "build_number": index % 3,
        "constrains": [f"{name}-base <0a0"],
        "depends": depends,
        "indexed_timestamp": BUILT_AT + index,
        "license": "BSD-3-Clause",
        "license_family": "BSD",
        "md5": f"{chance.getrandbits(128):032x}",
        "name": name,
        "platform": "linux",
        "sha256": f"{chance.getrandbits(256):064x}",
        "size": chance.randint(10_000, 50_000_000),
        "subdir": SUBDIR,
        "timestamp": BUILT_AT + chance.randint(0, 10**10),
        "version": version,
    }
    return Build(name, f"{name}-{version}-{build}.conda", record)


def _package_row(build: Build, channel_id: int, files: int) -> dict[str, Any]:
    return {
        "channel_id": channel_id,
        "name": build.name,
        "current_version": build.record["version"],
        "files_count": files,
        "platforms": SUBDIR,
    }


def _row(build: Build, channel_id: int, package_id: int) -> dict[str, Any]:
    record = build.record
    exports = {"weak": [f"{build.name} >={record['version']}"]} if record["size"] % 8 == 0 else {}
    return {
        "public_id": new_public_id(),
        "channel_id": channel_id,
        "package_id": package_id,
        "subdir": SUBDIR,
        "name": build.name,
        "filename": build.filename,
        "version": record["version"],
        "build": record["build"],
        "build_number": record["build_number"],
        "size": record["size"],
        "sha256": record["sha256"],
        "md5": record["md5"],
        "record": encode_json(record),
        "run_exports": encode_json(exports),
        "about": json.dumps({"summary": f"What {build.name} is for", "license": "BSD-3-Clause"}),
        "uploaded_at": BUILT_AT,
    }
