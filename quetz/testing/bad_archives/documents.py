"""Documents that lie, or that clients could not read: JSON, index, paths, about, run_exports."""

import bz2
import json
from collections.abc import Iterator
from typing import Any

import zstandard

from quetz.testing.bad_archives.parts import (
    BZ2,
    END,
    INDEX,
    INFO,
    MEGABYTE,
    NOTE,
    PAYLOAD,
    STEM,
    BadKind,
    bad_file,
    block,
    conda,
    conda_around,
    info_tar,
    members,
    text_of,
    with_index,
    with_json,
    with_text,
)
from quetz.testing.packages import pack_zip

FILE_NAMES = "file name, and names that collide"


def json_text() -> Iterator[tuple[str, BadKind]]:
    here = "JSON syntax and encoding"
    text = members()["info/index.json"]
    inner = text[:-1]
    texts = {
        "empty": b"",
        "no-json": b"name: bad",
        "cut": inner,
        "trailing-comma": inner + b",}",
        "comment": inner + b"} // index",
        "byte-order-mark": b"\xef\xbb\xbf" + text,
        "utf16": text.decode().encode("utf-16"),
        "latin1": inner + b', "license": "\xe9"}',
        "control-character": inner + b', "license": "\x01"}',
        "nan": inner + b', "x": NaN}',
        "infinity": inner + b', "x": -Infinity}',
        "overflow": inner + b', "x": 1e999}',
        "huge-integer": inner + b', "x": 9223372036854775808}',
        "endless-integer": inner + b', "x": ' + b"9" * 10_000 + b"}",
        "nul": inner + b', "license": "\\u0000"}',
        "half-a-pair": inner + b', "license": "\\ud800"}',
        "half-a-pair-in-a-key": inner + b', "\\udfff": 1}',
        "key-twice": inner + b', "name": "bad"}',
        "inner-key-twice": inner + b', "x": [{"a": 1, "a": 2}]}',
        "deep": inner + b', "x": ' + b"[" * 64 + b"]" * 64 + b"}",
        "bottomless": b"[" * 100_000,
        "list": b"[" + text + b"]",
        "null": b"null",
        "above-256-KiB": inner + b', "license": "' + text_of(MEGABYTE // 4) + b'"}',
        "many-values": inner + b', "x": [' + b"[]," * 20_000 + b"0]}",
    }
    for name, data in texts.items():
        yield f"json-{name}", bad_file(here, "info/index.json", with_text("index.json", data))
    for name in ("paths.json", "about.json", "run_exports.json"):
        yield f"json-cut-{name}", bad_file(here, f"info/{name}", with_text(name, b"{"))


def large_documents() -> Iterator[tuple[str, BadKind]]:
    """What is refused before it takes much room or time."""
    here = "JSON that is large"
    claims = block("info/paths.json", size=(32 << 20) + 1)
    tar = info_tar(members("info/paths.json"), claims)
    yield "large-paths-above-32-MiB", bad_file(here, "info/paths.json", conda(tar))
    keys = b",".join(b'"%d": 0' % number for number in range(20_000))
    path = b'{"paths_version": 1, "paths": [{"_path": "x", %s}]}' % keys
    for name, fault, text in (
        ("keys", "more than 32 keys", b"{%s}" % keys),
        ("value", "longer than 65536 characters", b'{"x": {%s}}' % keys),
        ("path", "longer than 65536 characters", path),
        ("short-value", "longer than 65536 characters", b'{"x": "%s"}' % (b"x" * 65536)),
        ("endless-value", "longer than 65536 characters", b'{"x": "%s"}' % text_of(MEGABYTE)),
    ):
        yield f"large-paths-{name}", bad_file(here, fault, _with_noise("paths.json", text))
    text = b'{"x": "%s"}' % text_of(MEGABYTE)
    yield "large-about", bad_file(here, "info/about.json", with_text("about.json", text))
    for name in ("about.json", "run_exports.json"):
        many = bad_file(here, f"info/{name}: holds more than 20000", with_json(name, [[]] * 20_000))
        yield f"large-many-values-{name}", many
    old = members("info/paths.json") | {"info/noise": text_of(10_000)}
    tar = info_tar(old | {"info/files": b"x" * 65_537})
    yield "large-files-line", bad_file(here, "info/files: line 1", bz2.compress(tar), BZ2)


def _with_noise(name: str, text: bytes) -> bytes:
    """Return a package with a text that may compress well: with others it is no bomb."""
    return conda(info_tar(members() | {f"info/{name}": text, "info/noise": text_of(20_000)}))


def streamed_text() -> Iterator[tuple[str, BadKind]]:
    """paths.json is read in pieces, and as strictly as the other documents."""
    here = "JSON syntax and encoding"
    text = members()["info/paths.json"]
    inner = text[:-1]
    paths = b'{"paths_version": 1, "paths": [{"_path": "a"%s}'
    texts = {
        "empty": b"",
        "cut": inner,
        "cut-array": paths % b"",
        "cut-path": paths[:-1] % b"",
        "trailing-comma": inner + b",}",
        "trailing-comma-in-array": paths % b"" + b",]}",
        "no-comma": paths % b"" + b'{"_path": "b"}]}',
        "no-colon": inner + b', "x" 1}',
        "number-for-a-key": inner + b", 1: 1}",
        "behind-its-end": text + b"{}",
        "byte-order-mark": b"\xef\xbb\xbf" + text,
        "latin1": inner + b', "x": "\xe9"}',
        "cut-utf8": text + b"\xc3",
        "nan": inner + b', "x": NaN}',
        "huge-integer": paths % b', "size_in_bytes": 9223372036854775808' + b"]}",
        "nul": paths % b', "x": "\\u0000"' + b"]}",
        "half-a-pair": paths % b', "x": "\\ud800"' + b"]}",
        "key-twice": inner + b', "paths_version": 1}',
        "inner-key-twice": paths % b', "_path": "a"' + b"]}",
        "bottomless": b'{"x": ' + b"[" * 60_000,
        "bottomless-in-array": b'{"paths": ' + b"[" * 60_000,
    }
    for name, data in texts.items():
        yield f"json-paths-{name}", bad_file(here, "info/paths.json", with_text("paths.json", data))


_WRONG_TYPES: dict[str, tuple[Any, ...]] = {
    "name": (None, True, 1, 1.5, ["bad"], {}),
    "version": (None, True, 1, 1.0, ["1.0"], {}),
    "build": (None, False, 0, 0.5, ["0"], {}),
    "build_number": (None, True, 0.5, "0", [0], {}),
    "depends": (None, True, 1, "zlib", {"zlib": "1"}, [1], [None], [["zlib"]]),
    "constrains": (None, False, 1, "zlib", {"zlib": "1"}, [{}]),
    "subdir": (False, 1, ["noarch"], {}),
    "noarch": (True, 1, ["python"], {}),
    "timestamp": (True, 1.5, "1700000000000", [1], {}),
    "license": (True, 1, ["MIT"], {}),
    "track_features": (True, 1, {}, [1]),
    "schema_version": (None, True, 2.5, "1", [1]),
}


def wrong_types() -> Iterator[tuple[str, BadKind]]:
    for field, values in _WRONG_TYPES.items():
        for value in values:
            name = f"type-{field}-{json.dumps(value)}"
            yield name, bad_file("wrong type of a field", field, with_index(**{field: value}))


def values() -> Iterator[tuple[str, BadKind]]:
    here = "value of a field"
    year_2200 = 7_258_118_400  # seconds
    cases: list[tuple[str, Any]] = [
        ("build_number", -1),
        ("timestamp", -1),
        ("timestamp", year_2200),
        ("timestamp", year_2200 * 1000),
        ("subdir", ""),
        ("subdir", "Linux-64"),
        ("subdir", "../noarch"),
        ("subdir", "linux-64/.."),
        ("subdir", "a-" + "b" * 31),
        ("noarch", "ruby"),
        ("depends", [""]),
        ("depends", ["zlib", " "]),
        ("depends", ["*"]),
        ("depends", ["zlib >="]),
        ("depends", ["a b c =="]),
        ("depends", ["a b c d e"]),
        ("depends", ["zl\u00efb"]),
        ("depends", ["zlib\n1.2"]),
        ("depends", ["zlib[version="]),
        ("depends", ["zlib " + "1" * 5000]),
        ("depends", ['zlib[when="__unix"]']),
        ("constrains", ["zlib ==="]),
        ("constrains", ["\u202ezlib"]),
        ("schema_version", 3),
    ]
    for field, value in cases:
        name = f"value-{field}-{json.dumps(value)[:30]}"
        yield name, bad_file(here, field, with_index(**{field: value}))
    alone = {key: value for key, value in INDEX.items() if key not in ("subdir", "noarch")}
    yield "value-no-subdir", bad_file(here, "subdir", with_json("index.json", alone))


def other_names() -> Iterator[tuple[str, BadKind]]:
    here = "file name against metadata"
    for field, value in (
        ("name", "good"),
        ("name", "Bad"),
        ("name", "b\u0430d"),
        ("version", "1.0.0"),
        ("version", "0!1.0"),
        ("build", "1"),
        ("build", "0\u200b"),
    ):
        yield f"other-{field}-{value}", bad_file(here, field, with_index(**{field: value}))
    for field in ("name", "version", "build", "build_number"):
        index = {key: value for key, value in INDEX.items() if key != field}
        yield f"no-{field}", bad_file(here, field, with_json("index.json", index))
    for name in (
        "good-1.0-0.conda",
        "bad-1.1-0.conda",
        "bad-1.0-1.conda",
    ):
        yield f"called-{name}", bad_file(here, "missing", conda(), name)
    yield (
        "called-other-bz2",
        bad_file(here, "version", bz2.compress(info_tar()), "bad-2-0.tar.bz2"),
    )


def file_names() -> Iterator[tuple[str, BadKind]]:
    for name in (
        "",
        "bad.conda",
        "bad-1.0.conda",
        "bad-1.0-0",
        "bad-1.0-0.zip",
        "bad-1.0-0.conda.bak",
        "bad-1.0-0.CONDA",
        "Bad-1.0-0.conda",
        "__bad-1.0-0.conda",
        "b__ad-1.0-0.conda",
        "b\u0430d-1.0-0.conda",
        "bad-1..0-0.conda",
        "bad-1.0*-0.conda",
        "bad-1.0A-0.conda",
        "bad-99999999999-0.conda",
        "bad-1.0-0 .conda",
        "bad-1.0-\u00bd.conda",
        "bad-1.0-0\0.conda",
        "../bad-1.0-0.conda",
        "x/bad-1.0-0.conda",
        "b" * 65 + "-1.0-0.conda",
        "bad-" + "1" * 65 + "-0.conda",
        "bad-1.0-" + "0" * 65 + ".conda",
    ):
        yield f"named-{name[:70]!r}", bad_file(FILE_NAMES, "not a package file name", conda(), name)


def bombs() -> Iterator[tuple[str, BadKind]]:
    here = "bomb"
    unsized = zstandard.ZstdCompressor(write_content_size=False)
    large = {"info/recipe/x": bytes(2 * MEGABYTE)}
    yield (
        "bomb-zstd",
        bad_file(here, INFO, lambda: conda_around(zstandard.compress(bytes(65 * MEGABYTE)))),
    )
    yield (
        "bomb-zstd-unsized",
        bad_file(here, INFO, lambda: conda_around(unsized.compress(bytes(65 * MEGABYTE)))),
    )
    yield "bomb-zstd-ratio", bad_file(here, INFO, lambda: conda(info_tar(members() | large)))
    yield (
        "bomb-bz2-ratio",
        bad_file(here, "times its size", lambda: bz2.compress(info_tar(large)), BZ2),
    )
    yield "bomb-members", bad_file(here, "members", _many_members, BZ2)
    long = block("x", b"info/" + b"x" * 100_000, b"L")
    yield "bomb-name", bad_file(here, "extended header", lambda: conda(info_tar(None, long)))
    claims = block("info/x", size=8 << 30)
    yield "bomb-claimed-size", bad_file(here, "info/", lambda: conda(info_tar(None, claims)))


def _many_members() -> bytes:
    noise = block("lib/noise", text_of(200_000))
    return bz2.compress(noise + block("lib/0") * 100_000 + END, 1)


def stems() -> Iterator[tuple[str, BadKind]]:
    here = "stem of the inner tars"
    frame = zstandard.compress(info_tar())

    def zipped(*names: str) -> bytes:
        return pack_zip({"metadata.json": NOTE} | dict.fromkeys(names, frame))

    other_info, other_payload = "info-bad-1.1-0.tar.zst", "pkg-bad-1.1-0.tar.zst"
    cases = {
        "other-info": (INFO, (other_info, PAYLOAD)),
        "other-payload": (PAYLOAD, (INFO, other_payload)),
        "both-other": (INFO, (other_info, other_payload)),
        "two-infos": ("belong", (INFO, PAYLOAD, other_info)),
        "two-payloads": ("belong", (INFO, PAYLOAD, other_payload)),
        "no-stem": (INFO, ("info.tar.zst", "pkg.tar.zst")),
        "other-case": (INFO, (INFO.upper(), PAYLOAD)),
        "other-suffix": (INFO, (f"info-{STEM}.tar.bz2", PAYLOAD)),
        "with-folder": (INFO, (f"./{INFO}", PAYLOAD)),
    }
    for name, (fault, names) in cases.items():
        yield f"stem-{name}", bad_file(here, fault, zipped(*names))


def _path(path: Any = "x", **fields: Any) -> dict[str, Any]:
    return {"paths_version": 1, "paths": [{"_path": path} | fields]}


def shapes() -> Iterator[tuple[str, BadKind]]:
    here = "shape of about, paths or run_exports"
    cases: list[tuple[str, str, Any]] = [
        ("paths.json", "paths.json", []),
        ("paths.json", "paths", {"paths_version": 1}),
        ("paths.json", "paths_version", {"paths": []}),
        ("paths.json", "paths_version", {"paths_version": "1", "paths": []}),
        ("paths.json", "paths", {"paths_version": 1, "paths": {}}),
        ("paths.json", "paths[0]", {"paths_version": 1, "paths": ["x"]}),
        ("paths.json", "_path", {"paths_version": 1, "paths": [{}]}),
        ("paths.json", "_path", _path(None)),
        ("paths.json", "file_mode", _path(file_mode="octal")),
        ("paths.json", "path_type", _path(path_type="device")),
        ("paths.json", "prefix_placeholder", _path(prefix_placeholder=1)),
        ("paths.json", "size_in_bytes", _path(size_in_bytes="1")),
        ("paths.json", "leads out", _path("/etc/passwd")),
        ("paths.json", "leads out", _path("../x")),
        ("paths.json", "leads out", _path("lib\\..\\..\\x")),
        ("paths.json", "conda-meta", _path("conda-meta/history")),
        ("about.json", "about.json", []),
        ("about.json", "about.json", None),
        ("about.json", "summary", {"summary": 1}),
        ("about.json", "home", {"home": {"url": "https://example.org"}}),
        ("about.json", "dev_url", {"dev_url": [1]}),
        ("about.json", "description", {"description": "x" * 70_000}),
        ("run_exports.json", "run_exports.json", None),
        ("run_exports.json", "run_exports.json", "zlib"),
        ("run_exports.json", "weak", [1]),
        ("run_exports.json", "weak", {"weak": "zlib"}),
        ("run_exports.json", "strong", {"strong": [None]}),
        ("run_exports.json", "noarch", {"noarch": {}}),
        ("run_exports.json", "weak[1]", {"weak": ["zlib", "*"]}),
        ("run_exports.json", "weak[0]", [""]),
    ]
    for number, (name, fault, value) in enumerate(cases):
        yield f"shape-{name}-{number}", bad_file(here, fault, with_json(name, value))
    index = {"info/index.json": members()["info/index.json"]}
    for name, files in (("climbs", b"../x\n"), ("latin1", b"\xe9\n")):
        tar = info_tar(index | {"info/files": files})
        yield (
            f"shape-files-{name}",
            bad_file(here, "info/files", bz2.compress(tar), BZ2),
        )
