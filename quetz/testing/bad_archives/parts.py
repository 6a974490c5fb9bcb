"""Parts of a package, sound unless changed, and what a kind of bad archive is."""

import json
import random
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import zstandard

from quetz.testing.packages import info_files, pack_conda, pack_tar, pack_zip

Build = Callable[[Path], tuple[Path, str]]
Content = Callable[[], bytes]


class BadKind(NamedTuple):
    """``fault`` is a word that the refusal holds."""

    category: str
    build: Build
    fault: str


STEM = "bad-1.0-0"
CONDA = f"{STEM}.conda"
BZ2 = f"{STEM}.tar.bz2"
INFO = f"info-{STEM}.tar.zst"
PAYLOAD = f"pkg-{STEM}.tar.zst"
NOTE = b'{"conda_pkg_format_version": 2}'
END = bytes(1024)
MEGABYTE = 1 << 20
INDEX: dict[str, Any] = {
    "name": "bad",
    "version": "1.0",
    "build": "0",
    "build_number": 0,
    "depends": [],
    "subdir": "noarch",
    "noarch": "generic",
}


def bad_file(category: str, fault: str, content: bytes | Content, filename: str = CONDA) -> BadKind:
    """Return a kind; ``content`` that is large is given as a function."""

    def build(folder: Path) -> tuple[Path, str]:
        path = folder / "uploaded"
        path.write_bytes(content if isinstance(content, bytes) else content())
        return path, filename

    return BadKind(category, build, fault)


def members(without: str = "", /, **index: Any) -> dict[str, bytes]:
    """Return the members of info/ by path, of an index changed by ``index``."""
    found = info_files(INDEX | index, {})
    found.pop(without, None)
    return found


def info_tar(plain: dict[str, bytes] | None = None, *more: bytes) -> bytes:
    """Return a tar of ``plain`` files (a sound info/ if None), with blocks added at its end."""
    plain = members() if plain is None else plain
    return b"".join([*(block(name, text) for name, text in plain.items()), *more, END])


def block(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, **fields: Any) -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, len(content)
    for field, value in fields.items():
        setattr(member, field, value)
    return member.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


def pax(kind: bytes, **records: str) -> bytes:
    lines = b"".join(_pax_record(f" {key}={value}\n") for key, value in records.items())
    return block("pax", lines, kind)


def _pax_record(rest: str) -> bytes:
    length = len(rest) + len(str(len(rest) + 2))
    return f"{length}{rest}".encode()


def conda(tar: bytes | None = None) -> bytes:
    return pack_conda(STEM, info_tar() if tar is None else tar, pack_tar({}))


def conda_around(frame: bytes) -> bytes:
    """Return a package whose info tar is in this zstd frame, or what pretends to be one."""
    return pack_zip(
        {"metadata.json": NOTE, PAYLOAD: zstandard.compress(END), INFO: frame},
    )


def conda_zip(without: str = "", /, **changes: bytes) -> bytes:
    """Return a package whose entries are changed, by name."""
    entries = {"metadata.json": NOTE, PAYLOAD: zstandard.compress(END)}
    entries |= {INFO: zstandard.compress(info_tar())} | changes
    return pack_zip({name: content for name, content in entries.items() if name != without})


def changed(data: bytes, offset: int, new: bytes) -> bytes:
    return data[:offset] + new + data[offset + len(new) :]


def _directory(data: bytes) -> int:
    return data.index(b"PK\1\2")


def with_text(name: str, text: bytes) -> bytes:
    """Return a package whose info/ holds ``text`` by that name."""
    return conda(info_tar(members() | {f"info/{name}": text}))


def with_json(name: str, value: Any) -> bytes:
    return with_text(name, json.dumps(value).encode())


def with_index(**index: Any) -> bytes:
    return conda(info_tar(members(**index)))


def text_of(size: int) -> bytes:
    """Return as many hexadecimal digits, which do not compress to nothing."""
    return random.Random(size).randbytes(size // 2).hex().encode()


def raw_frame(content: bytes, header: bytes) -> bytes:
    """Return a zstd frame of one stored block under a header of choice."""
    return b"\x28\xb5\x2f\xfd" + header + ((len(content) << 3) | 1).to_bytes(3, "little") + content


def resealed(block: bytes) -> bytes:
    """Return the block with the checksum of its header made right again."""
    total = sum(changed(block[:512], 148, b" " * 8))
    return changed(block, 148, f"{total:06o}\0 ".encode())
