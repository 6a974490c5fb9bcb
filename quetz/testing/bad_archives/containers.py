"""Containers that are broken, ambiguous or unsafe: zip, tar, zstd and bz2."""

import bz2
import gzip
import struct
import tarfile
import zipfile
from collections.abc import Iterator

import zstandard

from quetz.testing.bad_archives.parts import (
    BZ2,
    END,
    INFO,
    NOTE,
    PAYLOAD,
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
    resealed,
)
from quetz.testing.packages import pack_tar, pack_zip


def empty_or_cut() -> Iterator[tuple[str, BadKind]]:
    here = "empty or truncated"
    yield "no-bytes-conda", bad_file(here, "zip", b"")
    yield "no-bytes-bz2", bad_file(here, "empty", b"", BZ2)
    yield "one-byte", bad_file(here, "zip", b"P")
    yield "half-a-conda", bad_file(here, "zip", conda()[: len(conda()) // 2])
    yield "conda-without-end-record", bad_file(here, "zip", conda()[:-22])
    yield "cut-bz2", bad_file(here, "cut off", bz2.compress(info_tar())[:-20], BZ2)
    yield "bz2-of-nothing", bad_file(here, "cut off", bz2.compress(b""), BZ2)
    yield "bz2-of-a-cut-tar", bad_file(here, "cut off", bz2.compress(info_tar()[:700]), BZ2)
    yield "conda-of-a-cut-tar", bad_file(here, "cut off", conda(info_tar()[:700]))
    yield "tar-without-end", bad_file(here, "cut off", conda(info_tar()[: -len(END)]))
    frame = zstandard.compress(info_tar())
    yield "cut-frame", bad_file(here, INFO, conda_around(frame[:-5]))


def wrong_magic() -> Iterator[tuple[str, BadKind]]:
    here = "wrong magic or format mix"
    page = b"<html><body>404 Not Found</body></html>" * 9
    yield "bz2-called-conda", bad_file(here, "zip", bz2.compress(info_tar()))
    yield "conda-called-bz2", bad_file(here, "bz2", conda, BZ2)
    yield "page-called-conda", bad_file(here, "zip", page)
    yield "page-called-bz2", bad_file(here, "bz2", page, BZ2)
    yield "gzip-called-bz2", bad_file(here, "bz2", gzip.compress(info_tar()), BZ2)
    yield "plain-tar-called-bz2", bad_file(here, "bz2", info_tar, BZ2)
    yield "info-in-gzip", bad_file(here, INFO, conda_around(gzip.compress(info_tar())))
    yield "info-is-a-page", bad_file(here, "checksum", conda(page * 9))
    yield "info-is-a-zip", bad_file(here, "checksum", conda(conda_zip()))


def zip_structure() -> Iterator[tuple[str, BadKind]]:
    here = "zip structure"
    good = conda()
    at, info = good.index(b"PK\1\2"), good.index(INFO.encode())
    note = good.index(b"metadata.json")
    offset_in_end = len(good) - 6
    start = struct.pack("<I", at + 7)
    twice = conda_zip(**{"metadata.jsoN": NOTE}).replace(b"metadata.jsoN", b"metadata.json")
    deflated = pack_zip(
        {"metadata.json": NOTE, PAYLOAD: b"", INFO: zstandard.compress(info_tar())},
        zipfile.ZIP_DEFLATED,
    )
    cases: dict[str, tuple[str, bytes]] = {
        "wrong-crc": ("checksum", changed(good, info + len(INFO) + 9, b"\xff\xff")),
        "entry-twice": ("twice", twice),
        "bytes-before": ("beside", b"#!/bin/sh\n" + good),
        "bytes-after": ("zip", good + b"more"),
        "comment": ("comment", changed(good, len(good) - 2, b"\4\0") + b"more"),
        "deflated": ("stored", deflated),
        "encrypted": ("encrypted", changed(changed(good, 6, b"\1"), at + 8, b"\1")),
        "flags-differ": ("flagged", changed(good, 6, b"\0\x08")),
        "local-name-differs": ("another name", changed(good, note, b"metadatb.json")),
        "local-size-differs": ("disagree", changed(good, 22, b"\1\0\0\0")),
        "local-crc-differs": ("disagree", changed(good, 14, b"\1\2\3\4")),
        "local-header-missing": ("local header", changed(good, 0, b"XX")),
        "entries-overlap": ("beside", changed(good, good.index(b"PK\1\2", at + 4) + 42, bytes(4))),
        "hidden-entry": ("beside", good[:at] + good[:at] + good[at:]),
        "wrong-directory-offset": ("zip", changed(good, offset_in_end, start)),
        "wrong-count": ("counts", changed(good, len(good) - 12, b"\2\0")),
        "sizes-differ": ("sizes", changed(good, at + 24, b"\1")),
        "later-zip-version": ("zip", changed(good, at + 6, b"\xff\0")),
        "zip64-of-nothing": ("zip", changed(good, at + 42, b"\xff\xff\xff\xff")),
        "name-not-utf8": ("zip", changed(changed(good, at + 8, b"\0\x08"), at + 46, b"\xff")),
        "huge-directory": ("too large", pack_zip(dict.fromkeys(map(str, range(4000)), b""))),
    }
    for name, (fault, data) in cases.items():
        yield f"zip-{name}", bad_file(here, fault, data)


_ELSEWHERE = "/etc/passwd"

# Blocks that spoil the tar of a sound info/ when they are added to it.
_ADDED_MEMBERS: dict[str, tuple[str, bytes]] = {
    "symlink": ("link", block("info/x", kind=tarfile.SYMTYPE, linkname=_ELSEWHERE)),
    "hardlink": ("link", block("info/x", kind=tarfile.LNKTYPE, linkname=_ELSEWHERE)),
    "device": ("device", block("info/x", kind=tarfile.CHRTYPE)),
    "fifo": ("device", block("info/x", kind=tarfile.FIFOTYPE)),
    "unknown-type": ("type", block("info/x", kind=b"Z")),
    "gnu-sparse": ("type", block("info/x", kind=tarfile.GNUTYPE_SPARSE)),
    "index-is-a-directory": ("not that file", block("info/index.json/", kind=tarfile.DIRTYPE)),
    "directory-with-bytes": ("no file", block("info/d", b"x", tarfile.DIRTYPE)),
    "info-is-a-file": ("directory", block("info")),
    "info-is-a-link": ("link", block("info", kind=tarfile.SYMTYPE, linkname="x")),
    "climbs": ("..", block("info/../../x")),
    "climbs-inside": ("..", block("x/../info/index.json", b"{}")),
    "absolute": ("absolute", block("/info/x")),
    "backslashes": ("written", block("info\\x")),
    "capitals": ("written", block("INFO/index.json")),
    "double-slash": ("written", block("info//index.json")),
    "dot-inside": ("written", block("info/./index.json")),
    "not-utf8": ("written", block("info/\udcff")),
    "other-case": ("not that file", block("info/Index.json")),
    "index-twice": ("twice", block("info/index.json", b"{}")),
    "index-twice-by-dot": ("twice", block("./info/index.json", b"{}")),
    "licence-twice": ("twice", block("info/L", b"1") + block("info/L", b"2")),
    "client-record": ("must not", block("info/repodata_record.json", b"{}")),
}
_ADDED_HEADERS: dict[str, tuple[str, bytes]] = {
    "wrong-checksum": ("checksum", changed(block("info/x"), 148, b"000001\0 ")),
    "negative-size": ("size", resealed(changed(block("info/x"), 124, b"\xff" * 12))),
    "prefix-in-gnu": ("prefix", resealed(changed(block("info/x"), 345, b"prefix"))),
    "pax-sparse": ("sparse", pax(b"x", **{"GNU.sparse.name": "info/index.json"}) + block("x")),
    "two-pax-paths": ("two values", pax(b"x", path="info/a") * 2 + block("x")),
    "pax-and-gnu-path": (
        "two values",
        block("x", b"info/a\0", b"L") + pax(b"x", path="info/b") + block("x"),
    ),
    "pax-size": ("size", pax(b"x", size="-1") + block("info/x")),
    "pax-nul": ("name", pax(b"x", path="info/\0x") + block("x")),
    "broken-pax": ("pax", block("pax", b"99 path=info/x\n", b"x") + block("x")),
    "global-pax-path": ("global", pax(b"g", path="info/x")),
    "owner-is-no-number": ("number", resealed(changed(block("info/x"), 108, b"nobody"))),
    "global-pax-without-member": ("not follow", pax(b"g", comment="x")),
    "name-without-member": ("not follow", pax(b"x", path="info/x")),
    "bytes-after-end": ("follow the end", END + block("info/x") + END),
}


def tar_structure() -> Iterator[tuple[str, BadKind]]:
    here = "tar structure"
    for name, (fault, blocks) in (_ADDED_MEMBERS | _ADDED_HEADERS).items():
        tar = info_tar(None, blocks)
        yield f"tar-{name}-conda", bad_file(here, fault, conda(tar))
        yield f"tar-{name}-bz2", bad_file(here, fault, bz2.compress(tar), BZ2)
    linked = block("info/index.json", kind=tarfile.SYMTYPE, linkname=_ELSEWHERE)
    tar = info_tar(members("info/index.json"), linked)
    yield "tar-index-is-a-link", bad_file(here, "link", conda(tar))
    stray = info_tar(None, block("bin/x"))
    yield "tar-payload-in-info", bad_file(here, "not below info/", conda(stray))


def streams() -> Iterator[tuple[str, BadKind]]:
    here = "zstd or bz2 stream"
    tar = info_tar()
    frame, stream = zstandard.compress(tar), bz2.compress(tar)
    skippable = struct.pack("<II", 0x184D2A50, 4) + b"skip"
    checked = zstandard.ZstdCompressor(write_checksum=True).compress(tar)
    frames = {
        "frames": frame + frame,
        "bytes-behind": frame + b"x",
        "skippable-behind": frame + skippable,
        "skippable-before": skippable + frame,
        "broken": changed(frame, len(frame) // 2, b"\xff\xff\xff\xff"),
        "wrong-checksum": changed(checked, len(checked) - 4, b"\0\0\0\0"),
        "wide-window": raw_frame(tar, b"\x00\x90"),
        "dictionary": raw_frame(tar, b"\x01\x50\x07"),
        "lying-size": raw_frame(tar, b"\x80\x50" + struct.pack("<I", 5)),
        "empty": zstandard.compress(b""),
    }
    for name, data in frames.items():
        yield f"zstd-{name}", bad_file(here, INFO, conda_around(data))
    streams = {
        "streams": stream + stream,
        "bytes-behind": stream + b"x",
        "broken": changed(stream, len(stream) // 2, b"\xff\xff\xff\xff"),
        "wrong-checksum": changed(stream, len(stream) - 5, b"\0\0\0\0"),
    }
    for name, data in streams.items():
        yield f"bz2-{name}", bad_file(here, "bz2 stream", data, BZ2)


def missing_members() -> Iterator[tuple[str, BadKind]]:
    here = "missing members"
    for name in ("metadata.json", INFO, PAYLOAD):
        yield f"no-{name}", bad_file(here, f"{name}: is missing", conda_zip(name))
    for name in ("info/index.json", "info/paths.json"):
        fault = f"{name}: is missing"
        yield f"no-{name}", bad_file(here, fault, conda(info_tar(members(name))))
    old = {"info/index.json": members()["info/index.json"]}
    yield "bz2-no-paths", bad_file(here, "paths.json", bz2.compress(info_tar(old)), BZ2)
    yield (
        "bz2-no-info",
        bad_file(here, "index.json", bz2.compress(pack_tar({"x": b""})), BZ2),
    )
    yield "no-info-members", bad_file(here, "info/index.json", conda(END))
    yield "no-entries", bad_file(here, "missing", pack_zip({}))
    yield "a-fourth-entry", bad_file(here, "belong", conda_zip(**{"readme.txt": b""}))
    for value in ("1", "3", '"2"', "true", "null", "2.5"):
        note = f'{{"conda_pkg_format_version": {value}}}'.encode()
        yield (
            f"format-version-{value}",
            bad_file(here, "metadata.json", conda_zip(**{"metadata.json": note})),
        )
    for note in (b"", b"{}", b"[]", b"2", b"{"):
        yield (
            f"note-{note.decode()}",
            bad_file(here, "metadata.json", conda_zip(**{"metadata.json": note})),
        )
