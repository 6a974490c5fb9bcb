"""Six things that happen in a deployment, in steps that may fail."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import text

from quetz.testing.packages import build_package
from quetz.testing.stores import put_bytes
from quetz.tests.faults.worlds import Answer, World
from quetz.worker.collecting import collect, collect_index_files
from quetz.worker.fsck import check_deployment
from quetz.worker.sealer import seal_waiting

OF_NUMPY = {
    "source_channel": "forge",
    "source_package": "numpy",
    "subdir": "linux-64",
    "filename": "numpy-1.0-0.conda",
}
VERSION = "/api/channels/forge/packages/numpy/versions/linux-64/numpy-1.0-0.conda"


@dataclass(frozen=True)
class Step:
    """Something to do, and how it is answered: at first, and to who did it before unawares.

    A step in ``parts`` changes one thing after another, each wholly or not at all.
    """

    name: str
    take: Callable[[World], Answer]
    accepted: frozenset[int] = frozenset({200, 201})
    repeated: frozenset[int] = frozenset({200, 201})
    in_parts: bool = False


@dataclass(frozen=True)
class Scenario:
    """Steps in a deployment in which ``before`` happened; a ``damaged`` one is not sound."""

    name: str
    steps: Sequence[Step]
    before: Sequence[Callable[[World], object]] = field(default=())
    damaged: bool = False


def build_packages(folder: Path) -> Path:
    """Build the packages that the scenarios use; those of other bytes lie in ``other``."""
    (folder / "other").mkdir(parents=True)
    for version in ("1.0", "1.1", "2.0"):
        build_package(folder, "numpy", version, subdir="linux-64", run_exports={"weak": ["numpy"]})
    for name in ("scipy", "gone", "big", "form-a", "form-b"):
        build_package(folder, name)
    build_package(folder, "scipy", "2.0", suffix=".tar.bz2")
    build_package(folder / "other", "scipy", files={"a": b"other"})
    for version, depends in (("1.0", "python"), ("2.0", "python 3")):
        document = {
            "patch_instructions_version": 2,
            "packages.conda": {"numpy-1.0-0.conda": {"depends": [depends]}},
            "remove": ["numpy-1.1-0.conda"] if version == "2.0" else [],
        }
        files = {"linux-64/patch_instructions.json": json.dumps(document).encode()}
        build_package(folder, "forge-repodata-patches", version, files=files)
    return folder


def fill(world: World) -> None:
    """Give a new deployment its channels and what is in them, all of it published."""
    for name, limit in (("forge", None), ("stable", 1_000_000), ("doomed", None)):
        body = {"name": name, "private": False, "size_limit": limit}
        _succeed(world.ask("POST", "/api/channels", json=body))
    for channel, filename in [
        ("forge", "numpy-1.0-0.conda"),
        ("forge", "numpy-1.1-0.conda"),
        ("forge", "scipy-1.0-0.conda"),
        ("forge", "gone-1.0-0.conda"),
        ("forge", "forge-repodata-patches-1.0-0.conda"),
        ("doomed", "gone-1.0-0.conda"),
    ]:
        _succeed(world.upload(channel, filename))
    settle(world)


def settle(world: World) -> None:
    _succeed(world.publish())
    seal_waiting(world.deployment)


def _succeed(answer: Answer) -> None:
    assert answer.status in {200, 201}, answer


def _form(world: World) -> Answer:
    filenames = ["form-a-1.0-0.conda", "other/scipy-1.0-0.conda", "form-b-1.0-0.conda"]
    files = [
        ("files", (Path(name).name, (world.packages / name).read_bytes())) for name in filenames
    ]
    return world.ask("POST", "/api/channels/forge/files/", files=files, data={"force": "true"})


def _copy(world: World) -> Answer:
    return world.ask("POST", "/api/channels/stable/packages/copy", params=OF_NUMPY)


def _upload(channel: str, filename: str, **query: object) -> Callable[[World], Answer]:
    return lambda world: world.upload(channel, filename, **query)


def _request(method: str, path: str, **options: object) -> Callable[[World], Answer]:
    return lambda world: world.ask(method, path, **options)


def _seal(world: World) -> Answer:
    return world.work(lambda: seal_waiting(world.deployment))


def _collect(world: World) -> Answer:
    # Less than no grace: what was adopted within this millisecond goes, too.
    return world.work(lambda: collect(world.deployment, grace_ms=-1000))


def _collect_index_files(world: World) -> Answer:
    return world.work(lambda: collect_index_files(world.deployment))


def _fsck(world: World) -> Answer:
    report = []

    def check() -> None:
        report.append(
            check_deployment(
                world.deployment,
                deep=True,
                repair=True,
                tell=lambda _finding, _mended: None,
                watch=lambda _done, _total: None,
            )
        )

    answer = world.work(check)
    if report and report[0].errors_left:
        return Answer(503, f"{report[0].errors_left} errors are left")
    return answer


def _delete(path: str) -> Step:
    return Step(f"delete {path}", _request("DELETE", path), repeated=frozenset({404}))


def _damage(world: World) -> None:
    """Spoil a counter and an index file, and let old things be due."""
    with world.deployment.transaction(write=True) as session:
        session.execute(text("UPDATE channels SET size = size + 7 WHERE name = 'forge'"))
        session.execute(text("UPDATE objects SET touched_at = touched_at - 100000"))
        session.execute(text("UPDATE index_superseded SET superseded_at = 1"))
    path = next(
        key for key in sorted(world.deployment.store.list_index()) if key.endswith(".json.zst")
    )
    file = world.deployment.path / "store" / path
    file.write_bytes(file.read_bytes()[:-3])


def _leave_stray(world: World) -> None:
    """Leave an object of an upload that was never recorded, and some that nothing names."""
    put_bytes(world.deployment.store, b"stray")
    _succeed(world.upload("doomed", "big-1.0-0.conda"))
    _succeed(world.ask("DELETE", "/api/channels/doomed"))
    _succeed(world.ask("DELETE", "/api/channels/forge/packages/scipy"))


SCENARIOS = [
    Scenario(
        "upload",
        [
            Step("upload", _upload("stable", "big-1.0-0.conda")),
            Step("same bytes", _upload("stable", "big-1.0-0.conda")),
            Step("tar.bz2", _upload("forge", "scipy-2.0-0.tar.bz2")),
        ],
    ),
    Scenario("form", [Step("form", _form)]),
    Scenario(
        "delete",
        [_delete("/api/channels/forge/packages/gone"), _delete("/api/channels/doomed")],
    ),
    Scenario(
        "copy and yank",
        [
            Step("copy", _copy),
            Step("yank", _request("POST", f"{VERSION}/yank", json={"reason": "bad"})),
            Step("restore", _request("POST", f"{VERSION}/restore")),
        ],
    ),
    Scenario(
        "publish",
        [
            Step("publish", World.publish),
            Step("seal", _seal),
            Step("upload", _upload("forge", "scipy-2.0-0.tar.bz2")),
            Step("publish again", World.publish),
        ],
        before=[
            _upload("forge", "numpy-2.0-0.conda"),
            _upload("forge", "forge-repodata-patches-2.0-0.conda"),
            _request("DELETE", "/api/channels/forge/packages/gone"),
        ],
    ),
    Scenario(
        "collect and repair",
        [
            Step("collect", _collect, in_parts=True),
            Step("collect what was adopted", _collect, in_parts=True),
            Step("collect index files", _collect_index_files, in_parts=True),
            Step("fsck", _fsck, in_parts=True),
        ],
        before=[_leave_stray, settle, _damage],
        damaged=True,
    ),
]
