"""REL-9: an upload takes the same memory whatever its size."""

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import zstandard

from benchmarks.client import connected, post
from benchmarks.figures import Figure
from benchmarks.security.places import CHANNEL, Place, running
from quetz.testing.bad_archives.parts import MEGABYTE
from quetz.testing.packages import info_files, pack_tar

SIZES = (1, 64, 512, 2048)  # MiB
ROUNDS = 3


def measure(scale: float, folder: Path) -> Iterator[Figure]:
    """Upload packages of growing size; ``scale`` is of the sizes."""
    sizes = sorted({max(1, int(size * scale)) for size in SIZES})
    with running(folder / "server") as place:
        _upload(place, folder, 1, "warm")
        peaks = {
            size: [_upload(place, folder, size, f"{size}-{number}") for number in range(ROUNDS)]
            for size in sizes
        }
    slopes = [
        (large - small) / (sizes[-1] - sizes[0]) * 1024
        for small, large in zip(peaks[sizes[0]], peaks[sizes[-1]], strict=True)
    ]
    basis = ", ".join(f"{size} MiB: {max(values):.1f} MiB" for size, values in peaks.items())
    yield Figure("REL-9 memory for each GiB of an upload", slopes, "MiB", 1, basis)
    most = [max(values) for values in peaks.values()]
    yield Figure("REL-9 memory that an upload takes at most", [max(most)], "MiB", 32, basis)


def _upload(place: Place, folder: Path, size: int, version: str) -> float:
    """Upload a package of ``size`` MiB; return by how many MiB the server's memory rose."""
    path = _package(folder, size, version.replace("-", "."))
    before = place.session.reset_peaks()
    head = post(
        f"/api/channels/{CHANNEL}/upload/{path.name}", path.stat().st_size, X_API_Key=place.key
    )
    with connected(place.port) as connection:
        connection.send_file(head, path).expect(201)
    path.unlink()
    return (place.session.peak_bytes() - before) / MEGABYTE


def _package(folder: Path, size: int, version: str) -> Path:
    """Write a package whose payload is random: it is never unpacked."""
    path = folder / f"pkg-{version}-0.conda"
    info = _info(version)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("metadata.json", '{"conda_pkg_format_version": 2}')
        with archive.open(f"pkg-pkg-{version}-0.tar.zst", "w", force_zip64=True) as payload:
            for _ in range(size):
                payload.write(os.urandom(MEGABYTE))
        archive.writestr(f"info-pkg-{version}-0.tar.zst", info)
    return path


def _info(version: str) -> bytes:
    index = {
        "name": "pkg", "version": version, "build": "0", "build_number": 0,
        "depends": [], "subdir": "noarch", "noarch": "generic",
    }  # fmt: skip
    return zstandard.compress(pack_tar(info_files(index, {})))
