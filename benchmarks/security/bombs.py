"""REL-8: a small file that unpacks to a huge one is refused soon, and costs others nothing."""

import bz2
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import zstandard

from benchmarks.figures import Figure
from benchmarks.security.places import CHANNEL, Place, running
from quetz.conda.unpacking import INFO_LIMIT
from quetz.testing.bad_archives.parts import (
    BZ2,
    CONDA,
    END,
    INFO,
    MEGABYTE,
    NOTE,
    block,
    changed,
    conda_around,
    conda_zip,
    info_tar,
    members,
    resealed,
)
from quetz.testing.packages import pack_zip

POLL_SECONDS = 0.02


def measure(scale: float, folder: Path) -> Iterator[Figure]:
    """Send each bomb; ``scale`` is of the sizes that they unpack to."""
    with running(folder / "server") as place:
        large = _explode(place, *_large_package(scale))
        results = [_explode(place, *bomb(scale)) for bomb in BOMBS.values()]
    for name, result in zip(["a sound package", *BOMBS], [large, *results], strict=True):
        print(f"{name}: {result}", flush=True)
    basis = f"{len(results)} bombs"
    accepted = sum(result.status not in {413, 422} for result in results)
    yield Figure("REL-8 bombs not refused", [accepted], "bombs", 0, basis)
    yield from _costs("that a bomb takes", results, basis)
    assert large.status == 201, large
    yield from _costs("that a package of 100,000 files takes", [large], "1 package")


def _costs(of: str, results: list["_Result"], basis: str) -> Iterator[Figure]:
    rise = max(result.rise for result in results)
    yield Figure(f"REL-8 memory {of} at most", [rise / MEGABYTE], "MiB", 64, basis)
    seconds = max(result.seconds for result in results)
    yield Figure(f"REL-8 time {of} at most", [seconds], "s", 10, basis)
    health = max(result.health for result in results)
    yield Figure(f"REL-8 /health/live in the time {of}", [health * 1000], "ms", 200, basis)


@dataclass
class _Result:
    """``rise`` is in bytes, ``health`` the longest answer of ``/health/live`` in seconds."""

    status: int
    seconds: float
    rise: int
    health: float


def _explode(place: Place, filename: str, content: bytes) -> _Result:
    before = place.session.reset_peaks()
    with _polling(place) as poll:
        began = time.perf_counter()
        path = f"/api/channels/{CHANNEL}/upload/{filename}"
        reply = place.ask("POST", path, content)
        seconds = time.perf_counter() - began
    rise = place.session.peak_bytes() - before
    return _Result(reply.status, seconds, rise, max(poll.times, default=0))


@dataclass
class _Poll:
    times: list[float] = field(default_factory=list)


@contextmanager
def _polling(place: Place) -> Iterator[_Poll]:
    poll, done = _Poll(), threading.Event()

    def ask() -> None:
        while not done.wait(POLL_SECONDS):
            began = time.perf_counter()
            assert place.ask("GET", "/health/live").status == 200
            poll.times.append(time.perf_counter() - began)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield poll
    finally:
        done.set()
        thread.join()


Bomb = Callable[[float], tuple[str, bytes]]


def _zstd(size: int, **options: int) -> bytes:
    """Return a frame of ``size`` zeros, made piece by piece."""
    parameters = zstandard.ZstdCompressionParameters.from_level(3, **options)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    zeros = bytes(MEGABYTE)
    pieces = [stream.compress(zeros) for _ in range(max(1, size // MEGABYTE))]
    return b"".join([*pieces, stream.flush()])


def _bz2(start: bytes, size: int) -> bytes:
    stream = bz2.BZ2Compressor(9)
    zeros = bytes(MEGABYTE)
    pieces = [stream.compress(start)]
    pieces += [stream.compress(zeros) for _ in range(max(1, size // MEGABYTE))]
    return b"".join([*pieces, stream.flush()])


def _zeros(scale: float) -> tuple[str, bytes]:
    return CONDA, conda_around(_zstd(int(scale * (4 << 30))))


def _long_window(scale: float) -> tuple[str, bytes]:
    return CONDA, conda_around(_zstd(int(scale * (1 << 30)), window_log=31, enable_ldm=1))


def _zeros_in_info(scale: float) -> tuple[str, bytes]:
    size = int(scale * (1 << 30)) // 512 * 512
    head = block("info/recipe/x", size=size)
    stream = zstandard.ZstdCompressor(3).compressobj()
    zeros = bytes(MEGABYTE)
    pieces = [stream.compress(info_tar()[:-1024] + head)]
    pieces += [stream.compress(zeros) for _ in range(max(1, size // MEGABYTE))]
    return CONDA, conda_around(b"".join([*pieces, stream.flush()]))


def _bz2_zeros(scale: float) -> tuple[str, bytes]:
    return BZ2, _bz2(b"", int(scale * (1 << 30)))


def _bz2_payload_first(scale: float) -> tuple[str, bytes]:
    size = int(scale * (1 << 30)) // MEGABYTE * MEGABYTE
    return BZ2, _bz2(block("lib/zeros", size=size), size)


def _many_members(scale: float) -> tuple[str, bytes]:
    head = block("info/0")
    count = int(scale * 1_000_000)
    return CONDA, conda_around(zstandard.compress(head * max(1, count) + END))


def _many_members_bz2(scale: float) -> tuple[str, bytes]:
    return BZ2, bz2.compress(block("lib/0") * max(1, int(scale * 1_000_000)) + END)


def _many_entries(scale: float) -> tuple[str, bytes]:
    names = {f"{number}": b"" for number in range(max(1, int(scale * 200_000)))}
    return CONDA, pack_zip({"metadata.json": NOTE} | names)


def _deflated(scale: float) -> tuple[str, bytes]:
    return CONDA, pack_zip({INFO: bytes(max(1, int(scale * (256 << 20))))}, 8)


def _nested(scale: float) -> tuple[str, bytes]:
    """A zip in a zip in a zip: what unpacks whatever it finds would not end soon."""
    content = conda_zip()
    for _ in range(max(2, int(scale * 1_000))):
        content = pack_zip({INFO: content})
    return CONDA, content


def _sparse(scale: float) -> tuple[str, bytes]:
    """A GNU sparse member that claims terabytes."""
    head = bytearray(block("info/x", kind=b"S"))
    head[386:410] = b"%011o\0%011o\0" % (0, 0)
    head[483:495] = b"%011o\0" % (1 << 32)
    return CONDA, conda_around(zstandard.compress(info_tar(None, resealed(bytes(head)))))


def _wide_window(scale: float) -> tuple[str, bytes]:
    """As much info/ as may be unpacked and a little more, all of it in the window."""
    zeros = bytes(int(scale * (INFO_LIMIT - MEGABYTE)))
    large, last = block("info/recipe/x", zeros), block("info/recipe/y", bytes(MEGABYTE))
    return CONDA, _in_wide_window(_noise() + large + last)


def _wide_window_of_members(scale: float) -> tuple[str, bytes]:
    head, count = block("info/0000000"), int(scale * INFO_LIMIT / 512)
    heads = [resealed(changed(head, 5, b"%07d" % number)) for number in range(count)]
    return CONDA, _in_wide_window(b"".join([_noise(), *heads]))


def _wide_window_of_paths(scale: float) -> tuple[str, bytes]:
    paths = block("info/paths.json", _paths(scale * 500_000))
    filler = block("info/recipe/x", bytes(max(1, int(scale * INFO_LIMIT) - len(paths) - MEGABYTE)))
    return CONDA, _in_wide_window(_noise() + filler + paths)


def _in_wide_window(more: bytes) -> bytes:
    files = members("info/paths.json")
    options = zstandard.ZstdCompressionParameters.from_level(3, window_log=27)
    tar = info_tar(files, more)
    # Without the size in its header, nothing shows before the end what it unpacks to.
    stream = zstandard.ZstdCompressor(compression_params=options).compressobj()
    return conda_around(stream.compress(tar) + stream.flush())


def _noise() -> bytes:
    """Return a member that does not compress: it lifts the limit that comes with the size."""
    return block("info/recipe/noise", random.Random(8).randbytes(1 << 16))


def _json(scale: float, text: bytes, name: str = "paths.json") -> tuple[str, bytes]:
    files = members() | {f"info/{name}": text}
    return CONDA, conda_around(zstandard.compress(info_tar(files, _noise())))


def _many_paths(scale: float) -> tuple[str, bytes]:
    return _json(scale, _paths(scale * 1_200_000))


def _paths(count: float) -> bytes:
    paths = (b'{"_path":"%d"}' % number for number in range(max(1, int(count))))
    return b'{"paths_version":1,"paths":[%s,{}]}' % b",".join(paths)


def _many_keys(scale: float) -> tuple[str, bytes]:
    return _json(scale, _keys(scale))


def _many_keys_of_a_path(scale: float) -> tuple[str, bytes]:
    return _json(scale, b'{"paths_version":1,"paths":[%s]}' % _keys(scale))


def _many_keys_about(scale: float) -> tuple[str, bytes]:
    return _json(scale, _keys(scale), "about.json")


def _keys(scale: float) -> bytes:
    keys = b",".join(b'"%d":0' % number for number in range(max(1, int(scale * 1_000_000))))
    return b"{%s}" % keys


def _small_values(scale: float) -> tuple[str, bytes]:
    """Documents within their limits, of which each takes the most room when decoded."""
    text = b"[%s0]" % (b"[0]," * int(scale * 250_000))
    names = ("index.json", "about.json", "run_exports.json")
    documents = {f"info/{name}": b'{"x":%s}' % text for name in names}
    index = members()["info/index.json"][:-1] + b',"x":%s}' % text
    files = members() | documents | {"info/index.json": index}
    return CONDA, conda_around(zstandard.compress(info_tar(files, _noise())))


def _many_lines(scale: float) -> tuple[str, bytes]:
    files = members("info/paths.json") | {
        f"info/{name}": b"a\n" * max(1, int(scale * (8 << 20) - 1))
        for name in ("files", "has_prefix")
    }
    return BZ2, bz2.compress(info_tar(files, _noise()))


def _large_package(scale: float) -> tuple[str, bytes]:
    """A sound package with as long a list of files as the largest ones have: 25 MB."""
    paths = [
        {
            "_path": f"share/texmf-dist/tex/latex/{number:0100}.sty",
            "path_type": "hardlink",
            "sha256": random.Random(number).randbytes(32).hex(),
            "size_in_bytes": number,
        }
        for number in range(max(1, int(scale * 100_000)))
    ]
    text = json.dumps({"paths_version": 1, "paths": paths}).encode()
    return _json(scale, text)


def _deep(scale: float) -> tuple[str, bytes]:
    return _json(scale, b"[" * max(100, int(scale * 10_000_000)))


BOMBS: dict[str, Bomb] = {
    "zstd of 4 GiB": _zeros,
    "zstd with a window of 2 GiB": _long_window,
    "zstd of a member of 1 GiB": _zeros_in_info,
    "bz2 of 1 GiB": _bz2_zeros,
    "bz2 with a payload of 1 GiB first": _bz2_payload_first,
    "1,000,000 members": _many_members,
    "1,000,000 members in bz2": _many_members_bz2,
    "200,000 entries": _many_entries,
    "deflated": _deflated,
    "a zip in a zip, 1,000 deep": _nested,
    "sparse": _sparse,
    "a window as large as info/": _wide_window,
    "members in a window as large as info/": _wide_window_of_members,
    "paths in a window as large as info/": _wide_window_of_paths,
    "1,200,000 paths": _many_paths,
    "1,000,000 keys": _many_keys,
    "1,000,000 keys of a path": _many_keys_of_a_path,
    "1,000,000 keys of about.json": _many_keys_about,
    "documents of small values": _small_values,
    "16,000,000 lines": _many_lines,
    "JSON 10,000,000 deep": _deep,
}
