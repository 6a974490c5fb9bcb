"""Kinds made in series: one change at many places, and many formats in one place."""

import bz2
import gzip
import json
import lzma
import struct
import zlib
from collections.abc import Iterator

import zstandard

from quetz.testing.bad_archives.documents import FILE_NAMES
from quetz.testing.bad_archives.parts import (
    BZ2,
    END,
    INFO,
    MEGABYTE,
    NOTE,
    PAYLOAD,
    STEM,
    BadKind,
    bad_file,
    block,
    changed,
    conda,
    conda_around,
    conda_zip,
    info_tar,
    members,
    pax,
    raw_frame,
    with_index,
)
from quetz.testing.packages import pack_zip


def cuts() -> Iterator[tuple[str, BadKind]]:
    here = "empty or truncated"
    whole, stream = conda(), bz2.compress(info_tar())
    for eighth in range(1, 8):
        at = len(whole) * eighth // 8
        yield f"cut-conda-{eighth}-8", bad_file(here, "zip", whole[:at])
        at = len(stream) * eighth // 8
        yield f"cut-bz2-{eighth}-8", bad_file(here, "cut off", stream[:at], BZ2)


def foreign_formats() -> Iterator[tuple[str, BadKind]]:
    here = "wrong magic or format mix"
    tar = info_tar()
    formats = {
        "xz": lzma.compress(tar),
        "lzma": lzma.compress(tar, lzma.FORMAT_ALONE),
        "gzip": gzip.compress(tar),
        "zlib": zlib.compress(tar),
        "zstd": zstandard.compress(tar),
        "png": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "elf": b"\x7fELF\2\1\1" + bytes(100),
        "pdf": b"%PDF-1.7\n" + bytes(100),
        "script": b"#!/bin/sh\necho bad\n",
        "json": json.dumps({"name": "bad"}).encode(),
    }
    for name, content in formats.items():
        yield f"{name}-called-conda", bad_file(here, "zip", content)
        yield f"{name}-called-tar-bz2", bad_file(here, "bz2", content, BZ2)


def more_zips() -> Iterator[tuple[str, BadKind]]:
    here = "zip structure"
    good = conda()
    at = good.index(b"PK\1\2")
    cases = {
        "extra-field": ("zip", changed(good, at + 30, b"\4\0")),
        "second-disk": ("disks", changed(good, len(good) - 18, b"\1\0")),
        "directory-too-long": ("zip", changed(good, len(good) - 10, b"\xff\xff\0\0")),
        "two-ends": ("zip", good + good[-22:]),
        "two-archives": ("zip", good + good),
    }
    for name, (fault, data) in cases.items():
        yield f"zip-{name}", bad_file(here, fault, data)


def more_streams() -> Iterator[tuple[str, BadKind]]:
    here = "zstd or bz2 stream"
    tar = info_tar()
    frame, stream = zstandard.compress(tar), bz2.compress(tar)
    for third in (1, 2):
        at = len(frame) * third // 3
        kind = bad_file(here, "info", conda_around(_flipped(frame, at)))
        yield f"zstd-flipped-{third}-3", kind
        at = len(stream) * third // 3
        yield f"bz2-flipped-{third}-3", bad_file(here, "bz2", _flipped(stream, at), BZ2)
    headers = {
        "reserved-bit": b"\x08\x50",
        "widest-window": b"\x00\xff",
        "no-block": b"\x00\x50",
        "size-of-8-bytes": b"\xe0" + struct.pack("<Q", 1 << 40),
    }
    for name, header in headers.items():
        yield f"zstd-{name}", bad_file(here, INFO, conda_around(_of_nothing(header, name, tar)))
    yield "bz2-level-0", bad_file(here, "bz2", b"BZh0" + stream[4:], BZ2)
    yield "bz2-no-block", bad_file(here, "cut off", b"BZh9", BZ2)
    yield "bz2-magic-twice", bad_file(here, "bz2", b"BZh9" + stream, BZ2)


def _flipped(data: bytes, at: int) -> bytes:
    return changed(data, at, bytes(byte ^ 0xFF for byte in data[at : at + 4]))


def _of_nothing(header: bytes, name: str, tar: bytes) -> bytes:
    return raw_frame(b"" if name == "no-block" else tar, header)


def more_missing() -> Iterator[tuple[str, BadKind]]:
    here = "missing members"
    only = {name: conda_zip(*[other for other in (INFO, PAYLOAD) if other != name][:1])
            for name in (INFO, PAYLOAD)}  # fmt: skip
    yield "only-info", bad_file(here, PAYLOAD, only[INFO])
    yield "only-payload", bad_file(here, INFO, only[PAYLOAD])
    yield "bz2-of-an-empty-tar", bad_file(here, "info/index.json", bz2.compress(END), BZ2)
    index = {"index.json": members()["info/index.json"]}
    yield "index-outside-info", bad_file(here, "info/", conda(info_tar(index)))


def other_fields() -> Iterator[tuple[str, BadKind]]:
    here = "file name against metadata"
    for field, texts in {
        "name": ("bad ", "b-ad", "bad-1.0", "../bad", ""),
        "version": ("1.0 ", "1.00", "", "1.0-0"),
        "build": ("00", "", "../0"),
    }.items():
        for text in texts:
            kind = bad_file(here, field, with_index(**{field: text}))
            yield f"other-{field}-{text!r}", kind


def other_file_names() -> Iterator[tuple[str, BadKind]]:
    for name in ("bad-1.0-0.tar.gz", "bad-1.0-0%2e.conda", ".-1.0-0.conda"):
        kind = bad_file(FILE_NAMES, "not a package file name", conda(), name)
        yield f"named-{name}", kind


def more_bombs() -> Iterator[tuple[str, BadKind]]:
    here = "bomb"
    for name in ("index.json", "about.json", "paths.json", "run_exports.json", "recipe/x"):
        large = {f"info/{name}": bytes(2 * MEGABYTE)}
        tar = info_tar(members() | large)
        yield f"bomb-zeros-{name}", bad_file(here, INFO, conda(tar))
        fault = "times its size" if name == "recipe/x" else f"info/{name}"
        kind = bad_file(here, fault, bz2.compress(tar), BZ2)
        yield f"bomb-zeros-{name}-bz2", kind
    long = {letter: block("x", b"info/" + b"y" * 300_000, letter) for letter in (b"L", b"K")}
    for letter, blocks in long.items():
        name = f"bomb-long-{letter.decode()}"
        yield name, bad_file(here, "extended header", conda(info_tar(None, blocks)))
    records = pax(b"x", **{f"k{number}": "v" * 90 for number in range(2_000)}) + block("info/x")
    yield "bomb-pax-records", bad_file(here, "extended header", conda(info_tar(None, records)))
    for exponent in (34, 40, 62):
        claims = block("info/x", size=1 << exponent)
        yield f"bomb-claims-2-{exponent}", bad_file(here, "info/", conda(info_tar(None, claims)))
    twice = zstandard.compress(zstandard.compress(bytes(65 * MEGABYTE)))
    yield "bomb-zstd-in-zstd", bad_file(here, INFO, conda_around(twice))
    nested = bz2.compress(bz2.compress(bytes(65 * MEGABYTE)))
    yield "bomb-bz2-in-bz2", bad_file(here, "bz2", nested, BZ2)


def more_stems() -> Iterator[tuple[str, BadKind]]:
    here = "stem of the inner tars"
    frame = zstandard.compress(info_tar())
    stems = (
        "bad-1.0", "bad", "bad-1.0-1", "Bad-1.0-0", "bad-1.0-0.", " bad-1.0-0", "bad-1.0-0 ",
        "../bad-1.0-0", "bad_1.0_0", "bad-1.0-0-0", "b\u0430d-1.0-0", "bad-1.0-0\u200b",
    )  # fmt: skip
    for stem in stems:
        entries = {"metadata.json": NOTE} | dict.fromkeys(
            (f"pkg-{stem}.tar.zst", f"info-{stem}.tar.zst"), frame
        )
        yield f"stem-of-{stem!r}", bad_file(here, "info-", pack_zip(entries))
    for suffix in ("tar", "tar.xz", "zst", "tar.zst.bak"):
        entries = {"metadata.json": NOTE, PAYLOAD: frame, f"info-{STEM}.{suffix}": frame}
        yield f"stem-with-{suffix}", bad_file(here, INFO, pack_zip(entries))
