"""The packages that tests are made of are real."""

import asyncio
import json
import tarfile

import conda_package_streaming.extract
import pytest
from rattler.package_streaming import PackageArchive

from quetz.conda.archives import read_archive
from quetz.testing.packages import build_package

SUFFIXES = pytest.mark.parametrize("suffix", [".conda", ".tar.bz2"])
FILES = {"share/pkg/größe.txt": "größe".encode(), "bin/pkg": b"#!/bin/sh\n"}


@SUFFIXES
def test_conda_package_streaming_extracts_it(tmp_path, suffix, monkeypatch):
    # Python 3.12 and 3.13 warn that tarfile needs a filter; 3.11.2 of Debian 12 has none yet.
    data_filter = getattr(tarfile, "data_filter", None)
    if data_filter is not None:
        monkeypatch.setattr(
            tarfile.TarFile, "extraction_filter", staticmethod(data_filter), raising=False
        )
    path = build_package(tmp_path, suffix=suffix, files=FILES)
    prefix = tmp_path / "extracted"

    conda_package_streaming.extract.extract(str(path), str(prefix))

    assert {name: (prefix / name).read_bytes() for name in FILES} == FILES
    assert json.loads((prefix / "info/index.json").read_text())["name"] == "pkg"


@SUFFIXES
def test_rattler_reads_it(tmp_path, suffix):
    path = build_package(tmp_path, suffix=suffix, files=FILES, run_exports={"weak": ["pkg >=1"]})

    async def read():
        archive = await PackageArchive.from_path(path)
        exports = await archive.run_exports_json()
        return await archive.index_json(), await archive.list_files(), exports

    index, files, exports = asyncio.run(read())

    assert (str(index.name.normalized), str(index.version)) == ("pkg", "1.0")
    assert set(files) >= set(FILES)
    assert exports is not None
    assert exports.weak == ["pkg >=1"]


@SUFFIXES
def test_the_server_reads_it(tmp_path, suffix):
    path = build_package(tmp_path, suffix=suffix, noarch="python", depends=["python"])

    assert read_archive(path, path.name).index["noarch"] == "python"


@SUFFIXES
def test_the_same_arguments_make_the_same_bytes(tmp_path, suffix):
    first = build_package(tmp_path, suffix=suffix, files=FILES).read_bytes()

    second = build_package(tmp_path, suffix=suffix, files=FILES).read_bytes()

    assert second == first


@SUFFIXES
def test_other_files_make_other_bytes(tmp_path, suffix):
    first = build_package(tmp_path, suffix=suffix).read_bytes()

    second = build_package(tmp_path, suffix=suffix, files=FILES).read_bytes()

    assert second != first
