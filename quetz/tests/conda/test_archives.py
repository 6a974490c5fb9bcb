import bz2
import io
import json
import random
import tarfile
import time
import tracemalloc
from pathlib import Path
from typing import BinaryIO, cast

import conda_package_streaming.create
import conda_package_streaming.package_streaming as streaming
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quetz.conda.archives import read_archive
from quetz.conda.unpacking import read_info
from quetz.errors import BadArchive, BadFilename
from quetz.testing.bad_archives import parts
from quetz.testing.packages import build_package, info_files, pack_conda, pack_tar

SUFFIXES = pytest.mark.parametrize("suffix", [".conda", ".tar.bz2"])
INDEX = {"name": "pkg", "version": "1.0", "build": "0", "build_number": 0, "subdir": "linux-64"}


def write_conda(folder: Path, info: dict[str, bytes]) -> Path:
    path = folder / "pkg-1.0-0.conda"
    path.write_bytes(pack_conda("pkg-1.0-0", pack_tar(info), pack_tar({})))
    return path


def write_bz2(folder: Path, members: dict[str, bytes]) -> Path:
    """Write the members in the order given."""
    path = folder / "pkg-1.0-0.tar.bz2"
    path.write_bytes(bz2.compress(pack_tar(members)))
    return path


@SUFFIXES
def test_both_formats_say_the_same(tmp_path, suffix):
    path = build_package(
        tmp_path,
        "a-b",
        "1!2.0+x",
        "h1_7",
        build_number=7,
        subdir="linux-64",
        suffix=suffix,
        depends=["python >=3.8,<4.0a0", "__glibc >=2.17"],
        constrains=["zlib 1.*"],
        run_exports={"weak": ["a-b >=2"]},
        about={"summary": "Grüße", "home": "https://example.org"},
        files={"etc/conda/activate.d/a.sh": b"", "bin/.a-b-post-link.sh": b""},
        license="MIT",
    )

    archive = read_archive(path, path.name)

    assert str(archive.filename) == path.name
    assert archive.subdir == "linux-64"
    assert archive.index["depends"] == ["python >=3.8,<4.0a0", "__glibc >=2.17"]
    assert archive.index["constrains"] == ["zlib 1.*"]
    assert archive.index["build_number"] == 7
    assert archive.index["license"] == "MIT"
    assert archive.run_exports == {"weak": ["a-b >=2"]}
    assert archive.about == {
        "summary": "Grüße",
        "home": "https://example.org",
        "activate.d": True,
        "binary_prefix": False,
        "deactivate.d": False,
        "post_link": True,
        "pre_link": False,
        "pre_unlink": False,
        "text_prefix": False,
    }


@SUFFIXES
def test_unknown_fields_are_kept_untouched(tmp_path, suffix):
    strange = {"größe": 2**63 - 1, "e": [1.5, None, {"b": "\N{PILE OF POO}", "a": []}]}
    path = build_package(tmp_path, suffix=suffix, strange=strange)

    archive = read_archive(path, path.name)

    assert archive.index["strange"] == strange


def test_missing_depends_become_a_list(tmp_path):
    path = write_conda(tmp_path, info_files(INDEX, {}))

    assert read_archive(path, path.name).index["depends"] == []


def test_a_package_for_all_platforms_may_leave_its_subdir_out(tmp_path):
    index = {key: value for key, value in INDEX.items() if key != "subdir"}
    path = write_conda(tmp_path, info_files(index | {"noarch": "python"}, {}))

    archive = read_archive(path, path.name)

    assert archive.subdir == archive.index["subdir"] == "noarch"


def test_a_bare_list_of_run_exports_is_weak(tmp_path):
    path = build_package(tmp_path, run_exports=["pkg >=1.0"])

    assert read_archive(path, path.name).run_exports == {"weak": ["pkg >=1.0"]}


def test_without_about_and_run_exports_there_is_nothing_to_tell(tmp_path):
    info = info_files(INDEX, {})
    del info["info/about.json"]
    path = write_conda(tmp_path, info)

    archive = read_archive(path, path.name)

    assert archive.run_exports == {}
    assert not any(archive.about.values())


def test_of_several_urls_the_first_is_told_and_empty_texts_are_not(tmp_path):
    about = {"home": ["https://a.org", "https://b.org"], "dev_url": [], "doc_url": "", "tags": [1]}
    path = build_package(tmp_path, about=about | {"source_url": ["https://c.org"]})

    told = read_archive(path, path.name).about

    assert told["home"] == "https://a.org"
    assert told["source_url"] == ["https://c.org"]
    assert not {"dev_url", "doc_url", "tags"} & set(told)


@pytest.mark.parametrize(("mode", "flag"), [("binary", "binary_prefix"), (None, "text_prefix")])
def test_a_placeholder_in_a_path_is_told(tmp_path, mode, flag):
    entry = {"_path": "bin/x", "prefix_placeholder": "/opt/placeholder"}
    entry |= {"file_mode": mode} if mode else {}
    info = info_files(INDEX, {})
    info["info/paths.json"] = json.dumps({"paths_version": 1, "paths": [entry]}).encode()
    path = write_conda(tmp_path, info)

    told = read_archive(path, path.name).about

    assert {key for key in ("binary_prefix", "text_prefix") if told[key]} == {flag}


def test_a_package_older_than_paths_json_is_read_by_its_list_of_files(tmp_path):
    info = info_files(INDEX, {"etc/conda/deactivate.d/x.sh": b"", "bin/x": b""})
    del info["info/paths.json"]
    info["info/has_prefix"] = b"/opt/old binary bin/x\n"
    path = write_bz2(tmp_path, info)

    told = read_archive(path, path.name).about

    assert [key for key, value in told.items() if value is True] == [
        "binary_prefix",
        "deactivate.d",
    ]


def test_a_list_of_paths_of_many_megabytes_is_read_and_not_held(tmp_path):
    folder = "/".join("abcdefgh" * 500)
    paths = [{"_path": f"{folder}/{number}", "sha256": "0" * 64} for number in range(3_000)]
    paths.append({"_path": "bin/x", "prefix_placeholder": "/opt/old", "file_mode": "binary"})
    text = json.dumps({"paths": paths, "paths_version": 1}, indent=1).encode()
    noise = {"info/recipe/noise": random.Random(0).randbytes(30_000)}  # or it looks like a bomb
    path = write_conda(tmp_path, info_files(INDEX, {}) | {"info/paths.json": text} | noise)

    tracemalloc.start()
    archive = read_archive(path, path.name)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert archive.about["binary_prefix"] is True
    assert len(text) > 20 << 20
    assert peak < len(text) / 4


MANY = 500_001


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("paths.json", b'{"paths": [%s]}' % b",".join([b'{"_path": "x"}'] * MANY)),
        ("files", b"x\n" * MANY),
    ],
    ids=["paths.json", "files"],
)
def test_more_paths_than_packages_have_are_refused(tmp_path, name, text):
    info = info_files(INDEX, {})
    del info["info/paths.json"]
    noise = {"info/recipe/noise": random.Random(0).randbytes(30_000)}
    path = write_bz2(tmp_path, info | {f"info/{name}": text} | noise)

    with pytest.raises(BadArchive, match=f"info/{name}: more than 500000 paths"):
        read_archive(path, path.name)


def test_info_may_come_last(tmp_path):
    payload = {"bin/x": b"x" * 3000, "lib/y": b""}
    path = write_bz2(tmp_path, payload | info_files(INDEX, {}))

    assert read_archive(path, path.name).subdir == "linux-64"


def test_a_large_payload_behind_info_is_not_read(tmp_path):
    path = build_package(
        tmp_path, suffix=".tar.bz2", files={"x": random.Random(0).randbytes(5_000_000)}
    )
    path.write_bytes(path.read_bytes()[:-100])

    assert read_archive(path, path.name).subdir == "noarch"


def test_a_small_payload_is_read_to_its_end(tmp_path):
    path = write_bz2(tmp_path, info_files(INDEX, {}) | {"x": b"x", "./info/index.json": b"{}"})

    with pytest.raises(BadArchive, match="twice"):
        read_archive(path, path.name)


def test_a_tar_may_be_written_from_a_folder(tmp_path):
    files = {f"./{name}": text for name, text in info_files(INDEX, {}).items()}
    folders = b"".join(
        parts.block(name, kind=tarfile.DIRTYPE) for name in ("./", "./info/", "./info/recipe/")
    )
    path = tmp_path / "pkg-1.0-0.tar.bz2"
    path.write_bytes(bz2.compress(folders + pack_tar(files)))

    assert read_archive(path, path.name).subdir == "linux-64"


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_long_names_and_odd_times_are_read_in_every_form_of_tar(tmp_path, form):
    long = f"info/test/{'d' * 80}/{'e' * 80}"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, text in {long: b"x", **info_files(INDEX, {})}.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(text), 1.5 if form == tarfile.PAX_FORMAT else 1
            member.uid = 3_000_000 if form != tarfile.USTAR_FORMAT else 0
            tar.addfile(member, io.BytesIO(text))
    path = tmp_path / "pkg-1.0-0.conda"
    path.write_bytes(pack_conda("pkg-1.0-0", buffer.getvalue(), pack_tar({})))

    assert read_archive(path, path.name).subdir == "linux-64"


def test_a_package_by_conda_package_streaming_is_read(tmp_path):
    with conda_package_streaming.create.conda_builder("pkg-1.0-0", tmp_path) as tar:
        for name, text in (info_files(INDEX, {}) | {"bin/x": b"x"}).items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text))

    archive = read_archive(tmp_path / "pkg-1.0-0.conda", "pkg-1.0-0.conda")

    assert archive.subdir == "linux-64"


def test_a_timestamp_may_be_in_seconds_or_milliseconds(tmp_path):
    for timestamp in (0, 1_500_000_000, int(time.time() * 1000)):
        path = build_package(tmp_path, timestamp=timestamp)

        assert read_archive(path, path.name).index["timestamp"] == timestamp


def test_a_name_that_no_package_has_is_refused_before_the_file_is_opened(tmp_path):
    with pytest.raises(BadFilename):
        read_archive(tmp_path / "missing", "pkg.conda")


def test_the_payload_of_a_conda_is_not_read(tmp_path):
    payload = {"x": random.Random(0).randbytes(2_000_000)}
    path = build_package(tmp_path, files=payload)
    filename = read_archive(path, path.name).filename

    with path.open("rb") as opened:
        counting = CountingFile(opened)
        read_info(cast(BinaryIO, counting), filename)

    assert counting.count < 10_000


class CountingFile:
    """A file that counts the bytes read from it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.count = 0
        self.seek, self.tell, self.seekable = self.file.seek, self.file.tell, self.file.seekable

    def read(self, size: int = -1) -> bytes:
        data = self.file.read(size)
        self.count += len(data)
        return data


CHANGES = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=8), st.integers(0, 8)),
    min_size=1,
    max_size=4,
)


def mutate(data: bytes, changes: list[tuple[float, bytes, int]]) -> bytes:
    """Replace a few bytes at relative places by others, of the same number or not."""
    for place, new, dropped in changes:
        start = int(place * len(data))
        data = data[:start] + new + data[start + dropped :]
    return data


@SUFFIXES
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(changes=CHANGES)
def test_a_damaged_file_is_refused_or_read_as_others_read_it(tmp_path, suffix, changes):
    path = build_package(tmp_path, suffix=suffix)
    path.write_bytes(mutate(path.read_bytes(), changes))

    assert_refused_or_agreed(path)


@SUFFIXES
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(changes=CHANGES)
def test_a_damaged_tar_is_refused_or_read_as_others_read_it(tmp_path, suffix, changes):
    path = tmp_path / f"pkg-1.0-0{suffix}"
    tar = mutate(pack_tar(info_files(INDEX, {})).rstrip(b"\0") + bytes(1024), changes)
    packed = pack_conda("pkg-1.0-0", tar, pack_tar({})) if suffix == ".conda" else bz2.compress(tar)
    path.write_bytes(packed)

    assert_refused_or_agreed(path)


def assert_refused_or_agreed(path: Path) -> None:
    try:
        archive = read_archive(path, path.name)
    except BadArchive:
        return
    members = streaming.stream_conda_info(str(path))
    found = [json.load(tar.extractfile(m)) for tar, m in members if m.name == "info/index.json"]
    assert [index | archive.index for index in found] == [archive.index]
