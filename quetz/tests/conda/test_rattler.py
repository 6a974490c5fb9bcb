"""rattler, the engine of pixi, reads every form of index that is written, and installs from it."""

import json
from hashlib import sha256

import pytest
import zstandard
from rattler import RepoData

from quetz.conda.shard_indexes import ShardIndex
from quetz.conda.shards import decode_shard_index
from quetz.testing.clients import ClientHome, solve_with_rattler
from quetz.testing.packages import build_package


@pytest.fixture
def packages(tmp_path):
    """Both formats, two subdirs, an epoch, unicode, and a dependency."""
    folders = tmp_path / "noarch", tmp_path / "linux-64"
    for folder in folders:
        folder.mkdir()
    return [
        build_package(
            folders[1],
            "app",
            "1!2.0",
            "h1_0",
            subdir="linux-64",
            depends=["lib >=1.0,<2"],
            constrains=["other <0"],
            run_exports=["app >=1!2"],
            license="Größe",
            files={"share/app.txt": b"app"},
            strange={"ü": [2**63 - 1, None]},
        ),
        build_package(folders[0], "lib", suffix=".tar.bz2", files={"share/lib.txt": b"lib"}),
        build_package(folders[0], "lib", "2.0", files={"share/lib.txt": b"too new"}),
    ]


@pytest.mark.parametrize("form", ["shards", "zst", "json"])
def test_rattler_solves_and_installs_from_each_form(tmp_path, publish, serve, packages, form):
    home, prefix = tmp_path / "home", tmp_path / "prefix"
    home.mkdir()
    url = serve(publish(packages))

    solved = solve_with_rattler(ClientHome(home), url, "app", form=form, prefix=prefix)

    assert {name: record["url"] for name, record in solved.items()} == {
        "app": f"{url}/linux-64/app-1!2.0-h1_0.conda",
        "lib": f"{url}/noarch/lib-1.0-0.tar.bz2",
    }
    assert solved["app"]["license"] == "Größe"
    assert solved["app"]["constrains"] == ["other <0"]
    assert (prefix / "share/app.txt").read_bytes() == b"app"
    assert (prefix / "share/lib.txt").read_bytes() == b"lib"


def test_rattler_solves_from_a_shard_index_in_many_pieces(tmp_path, publish, serve, packages):
    documents = publish(packages)
    path = "noarch/repodata_shards.msgpack.zst"
    others = {f"pkg-{number}": sha256(b"%d" % number).digest() for number in range(5_000)}
    index = ShardIndex.of(others | decode_shard_index(zstandard.decompress(documents[path])))
    index = index.change(dict.fromkeys(list(others)[1_000:3_000:7]))
    documents[path], _ = index.encode("noarch", 1_700_000_000_123)
    assert len(index.pieces) > 3

    solved = solve_with_rattler(ClientHome(tmp_path), serve(documents), "app", form="shards")

    assert solved.keys() == {"app", "lib"}


def test_rattler_reads_repodata_from_a_file(tmp_path, publish, packages):
    path = tmp_path / "repodata.json"
    path.write_bytes(publish(packages)["linux-64/repodata.json"])

    repodata = RepoData.from_path(path)

    assert repodata.info is not None
    assert repodata.info.subdir == "linux-64"
    assert set(json.loads(path.read_bytes())["packages.conda"]) == {"app-1!2.0-h1_0.conda"}
