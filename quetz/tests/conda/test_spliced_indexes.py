"""Clients read an index of many pieces, which were compressed at several levels."""

import json
import random

import pytest

from quetz.conda import pieces
from quetz.conda.filenames import name_of_file
from quetz.conda.pieces import BEST_LEVEL, LEVEL, PLAIN, Builder, exchange, improve, splice
from quetz.conda.repodata import repodata_fragments, repodata_texts
from quetz.testing.clients import ClientFailed, ClientHome, create_with_conda, solve_with_rattler
from quetz.testing.packages import build_package
from quetz.tests.conda.compressors import Wrong
from quetz.tests.conda.documents import File

NAMES = [f"package{number:04}" for number in range(2_000)]
FAST = 1


def filler(name: str) -> list[tuple[str, str]]:
    """Return the records of a package that only makes an index large."""
    chance = random.Random(name)
    record = {"name": name, "version": "1.0", "build": "0", "build_number": 0, "size": 1}
    record |= {"sha256": chance.randbytes(32).hex(), "md5": chance.randbytes(16).hex()}
    record |= {"depends": [], "license": chance.randbytes(200).hex()}
    return [(f"{name}-1.0-0{suffix}", json.dumps(record)) for suffix in (".conda", ".tar.bz2")]


def change(file: File, subdir: str, changes: dict[str, list[tuple[str, str]]]) -> File:
    said = {name: repodata_fragments(records, []) for name, records in changes.items()}
    by_section = [{name: said[name][section] for name in said} for section in range(3)]
    texts = repodata_texts(subdir)
    return File.write(splice(file.table, file.fetch, texts, by_section, name_of_file), file.data)


def make_large(subdir: str, index: bytes, monkeypatch: pytest.MonkeyPatch) -> File:
    """Put the records of an index among many others, into pieces of all levels."""
    builder = Builder(3)
    with monkeypatch.context() as patch:
        patch.setattr(pieces, "LEVEL", FAST)
        for name in NAMES:
            for section, fragment in enumerate(repodata_fragments(filler(name), [])):
                builder.add(section, name, fragment)
        file = File.write(builder.finish(repodata_texts(subdir)))
    answers = iter([True, True, False])
    better = improve(file.table, file.fetch, lambda: next(answers))
    file = File.write(exchange(file.table, better), file.data)
    with monkeypatch.context() as patch:
        patch.setattr("zstandard.ZstdCompressor", Wrong)
        file = change(file, subdir, {"package1000": []})
    decoded = json.loads(index)
    records = decoded["packages"] | decoded["packages.conda"]
    real = {name_of_file(name): [(name, json.dumps(record))] for name, record in records.items()}
    return change(file, subdir, real)


@pytest.fixture
def served(tmp_path, publish, monkeypatch):
    """Make a channel that has nothing but its packages and a large ``repodata.json.zst``."""
    for subdir in ("linux-64", "noarch"):
        (tmp_path / subdir).mkdir()
    app = build_package(tmp_path / "linux-64", "app", subdir="linux-64", depends=["zlib"])
    zlib = build_package(tmp_path / "noarch", "zlib", suffix=".tar.bz2")
    published = publish([app, zlib])
    served = {
        path: data for path, data in published.items() if path.endswith((app.name, zlib.name))
    }
    for subdir in ("linux-64", "noarch"):
        file = make_large(subdir, published[f"{subdir}/repodata.json"], monkeypatch)
        levels = {piece.level for section in file.table.sections for piece in section}
        assert levels == {PLAIN, FAST, LEVEL, BEST_LEVEL}
        served[f"{subdir}/repodata.json.zst"] = file.data
    return served


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home"
    folder.mkdir()
    return ClientHome(folder)


def test_rattler_reads_it(served, serve, home):
    url = serve(served)

    solved = solve_with_rattler(home, url, "app", "package1999", form="zst")

    assert {"app", "zlib", "package1999"} <= set(solved)


def test_rattler_finds_no_name_that_was_taken_out(served, serve, home):
    url = serve(served)

    with pytest.raises(ClientFailed, match="No candidates were found for package1000"):
        solve_with_rattler(home, url, "package1000", form="zst")


def test_conda_reads_it(served, serve, home, tmp_path):
    url = serve(served)

    linked = create_with_conda(home, tmp_path / "env", url, "app")

    assert [package["dist_name"] for package in linked] == ["zlib-1.0-0", "app-1.0-0"]
