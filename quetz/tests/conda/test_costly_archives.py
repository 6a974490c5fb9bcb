"""Small packages that would take long to read, or much memory."""

import bz2
import time

import pytest

from quetz.conda.archives import read_archive
from quetz.errors import BadArchive
from quetz.testing.bad_archives import parts
from quetz.testing.packages import build_package, info_files, pack_tar


def test_specs_of_many_spaces_are_read_as_fast_as_others(tmp_path):
    specs = ["a" + " " * 2040 + "1.0"] * 60
    wide = build_package(tmp_path, depends=specs, constrains=specs, run_exports=specs * 2)
    started = time.monotonic()

    archive = read_archive(wide, wide.name)

    assert archive.index["depends"] == archive.index["constrains"] == specs
    assert archive.run_exports == {"weak": specs * 2}
    assert time.monotonic() - started < 10  # looking for runs takes fifteen


def test_spaces_around_operators_are_no_fields(tmp_path):
    specs = ["zlib  >=1.2 ,  <2 |  3.*  h1_*", "zlib  [version='>=1.2,<2']  "]
    path = build_package(tmp_path, depends=specs)

    assert read_archive(path, path.name).index["depends"] == specs


def test_a_build_may_be_a_short_regular_expression(tmp_path):
    specs = [r"blas * ^(mkl|openblas_\d+)$", "blas[build='^py3.*$']"]
    path = build_package(tmp_path, depends=specs)

    assert read_archive(path, path.name).index["depends"] == specs


@pytest.mark.parametrize(
    "build",
    [
        pytest.param("^(a{100}){9}$", id="counts"),
        pytest.param("^" + r"\w" * 20 + "$", id="classes"),
        pytest.param("^" + r"\pL" * 20 + "$", id="properties"),
        pytest.param("^" + "a*" * 100 + "$", id="long"),
    ],
)
@pytest.mark.parametrize("spec", ["blas 1.0 {}", "blas=1.0={}", "blas[build='{}']", "{}"])
def test_a_costly_regular_expression_is_refused(tmp_path, build, spec):
    path = build_package(tmp_path, depends=[spec.format(build)])

    with pytest.raises(BadArchive, match=r"depends\[0\]: .* holds a regular expression"):
        read_archive(path, path.name)


def test_a_pax_header_of_thousands_of_records_is_read_to_its_end(tmp_path):
    records = {f"k{number}": "" for number in range(6000)} | {"path": "info/test/last"}
    path = tmp_path / "pkg-1.0-0.tar.bz2"
    header = parts.pax(b"x", **records) + parts.block("x")
    index = {"name": "pkg", "version": "1.0", "build": "0", "build_number": 0, "subdir": "noarch"}
    path.write_bytes(bz2.compress(header + pack_tar(info_files(index, {}))))

    assert read_archive(path, path.name).subdir == "noarch"

    path.write_bytes(bz2.compress(header * 2 + pack_tar(info_files(index, {}))))

    with pytest.raises(BadArchive, match="info/test/last: is there twice"):
        read_archive(path, path.name)
