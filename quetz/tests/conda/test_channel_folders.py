import json

import pytest

from quetz.conda.channel_folders import Listed, read_channel_folder
from quetz.conda.zstd import compress
from quetz.errors.folders import BadRepodata, NoChannelFolder
from quetz.testing.packages import build_package
from quetz.tests.no_files import NO_FILES


@pytest.fixture
def folder(tmp_path):
    """A channel with a package in each of two subdirs, and without repodata."""
    for subdir in ("linux-64", "noarch"):
        (tmp_path / subdir).mkdir()
        build_package(tmp_path / subdir, subdir=subdir)
    return tmp_path


REPODATA = {
    "info": {"subdir": "noarch"},
    "packages": {"old-1.0-0.tar.bz2": {"md5": None, "name": "old"}},
    "packages.conda": {
        "pkg-1.0-0.conda": {"size": 7, "sha256": "ab", "indexed_timestamp": 12, "depends": []}
    },
    "removed": ["gone-1.0-0.conda"],
    "repodata_version": 1,
}


def test_the_packages_of_all_subdirs_are_found(folder):
    (folder / "pkgs-extra").mkdir()
    (folder / ".tmp").mkdir()
    (folder / "noarch" / "repodata_shards.msgpack.zst").write_text("not looked at")

    found = read_channel_folder(folder)

    assert [(file.subdir, file.filename) for file in found.files] == [
        ("linux-64", "pkg-1.0-0.conda"),
        ("noarch", "pkg-1.0-0.conda"),
    ]
    assert all(file.size == file.path.stat().st_size for file in found.files)
    assert [file.listed for file in found.files] == [None, None]
    assert found.missing == []


@pytest.mark.parametrize("packed", [False, True], ids=["json", "zst"])
def test_what_repodata_says_is_told_of_each_file(folder, packed):
    build_package(folder / "noarch", name="gone")
    text = json.dumps(REPODATA).encode()
    name = "repodata.json.zst" if packed else "repodata.json"
    (folder / "noarch" / name).write_bytes(compress(text, 3) if packed else text)

    found = read_channel_folder(folder)

    _, gone, listed = found.files
    assert (gone.filename, gone.listed, gone.removed) == ("gone-1.0-0.conda", None, True)
    assert listed.listed == Listed(size=7, sha256="ab", md5=None, indexed_timestamp=12)
    assert not listed.removed
    assert found.missing == ["noarch/old-1.0-0.tar.bz2"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("repodata.json", b"{", id="cut off"),
        pytest.param("repodata.json", b"\xff", id="not UTF-8"),
        pytest.param("repodata.json", b'{"packages": []}', id="another shape"),
        pytest.param(
            "repodata.json",
            b'{"packages": {"a": {"indexed_timestamp": -1}}}',
            id="a time before all times",
        ),
        pytest.param("repodata.json.zst", b"{}", id="not packed"),
    ],
)
def test_repodata_that_cannot_be_read_is_named(folder, name, content):
    (folder / "noarch" / name).write_bytes(content)

    with pytest.raises(BadRepodata, match=f"noarch/{name}' cannot be read: .*take it away"):
        read_channel_folder(folder)


@pytest.mark.parametrize("make", NO_FILES)
def test_repodata_that_is_no_file_is_named(folder, make):
    make(folder / "noarch" / "repodata.json")

    with pytest.raises(BadRepodata, match=r"noarch/repodata\.json' cannot be read: it is no file"):
        read_channel_folder(folder)


@pytest.mark.parametrize("make", NO_FILES)
def test_what_has_a_name_of_a_package_and_is_no_file_is_found_without_a_size(folder, make):
    make(folder / "noarch" / "odd-1.0-0.conda")

    odd, _ = [file for file in read_channel_folder(folder).files if file.subdir == "noarch"]

    assert (odd.filename, odd.size) == ("odd-1.0-0.conda", 0)


def test_a_loop_of_links_is_no_subdir(folder):
    (folder / "win-64").symlink_to("win-64")

    assert {file.subdir for file in read_channel_folder(folder).files} == {"linux-64", "noarch"}


@pytest.mark.parametrize("name", ["repodata.json", "repodata.json.zst"])
def test_repodata_above_the_limit_is_named(folder, name):
    with (folder / "noarch" / name).open("wb") as file:
        file.truncate((1 << 30) + 1)

    with pytest.raises(BadRepodata, match="it is larger than 1073741824 bytes"):
        read_channel_folder(folder)


@pytest.mark.parametrize("packed", [False, True], ids=["json", "zst"])
def test_what_was_before_patches_is_preferred(folder, packed):
    patched = {"removed": ["pkg-1.0-0.conda", "gone-1.0-0.conda"]}
    (folder / "noarch" / "repodata.json").write_text(json.dumps(patched))
    text = json.dumps(REPODATA).encode()
    name = "repodata_from_packages.json"
    (folder / "noarch" / (f"{name}.zst" if packed else name)).write_bytes(
        compress(text, 3) if packed else text
    )

    _, listed = read_channel_folder(folder).files

    assert not listed.removed
    assert listed.listed == Listed(size=7, sha256="ab", md5=None, indexed_timestamp=12)


@pytest.mark.parametrize("made", ["nothing", "a file", "no subdir"])
def test_what_is_no_channel_is_refused(tmp_path, made):
    place = tmp_path / "place"
    if made == "a file":
        place.write_text("noarch")
    if made == "no subdir":
        (place / "Documents").mkdir(parents=True)

    with pytest.raises(NoChannelFolder, match="place' is no folder of a channel"):
        read_channel_folder(place)
