"""Generated packages: sound ones, changed at random in one of their layers."""

import bz2
import copy
import json
import random
from collections.abc import Callable, Iterator

import zstandard

from quetz.testing.packages import info_files, pack_conda, pack_tar

Chance = random.Random
_STEM = "pkg-1.0-0"
_INDEX = {
    "name": "pkg", "version": "1.0", "build": "0", "build_number": 0, "subdir": "noarch",
    "depends": ["python >=3.9", "zlib 1.2.*"], "constrains": [], "noarch": "python",
    "license": "MIT", "timestamp": 1_700_000_000_000,
}  # fmt: skip
_ABOUT = {"summary": "A package", "home": "https://example.org", "license": "MIT"}
_RUN_EXPORTS = {"weak": ["zlib >=1.2"]}
_ODD: list[object] = [
    None, True, 0, -1, 1.5, 2**53, 2**63, 2**70, 1e308, "", "x", "\0", "\ud800", "\u202e", "../..",
    "a" * 70_000, [], [None], [[]], {}, {"a": 1}, ["zlib"] * 1000, "1.0\n", "*", ">=1,<", "~=1",
]  # fmt: skip
_TOKENS = [b"{", b"}", b"[", b"]", b'"', b":", b",", b"NaN", b"1e999", b"\\u0000", b"\xff", b"\\"]


def make(count: int, *, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield ``count`` times the name and the bytes of a package that is probably malformed."""
    chance = random.Random(seed)
    for _ in range(count):
        yield chance.choice(_KINDS)(chance)


def _files(index: dict[str, object] | None = None) -> dict[str, bytes]:
    return info_files(index or _INDEX, {"lib/x": b"x"}, about=_ABOUT, run_exports=_RUN_EXPORTS)


def _packed(chance: Chance, tar: bytes) -> tuple[str, bytes]:
    if chance.random() < 0.5:
        return f"{_STEM}.tar.bz2", bz2.compress(tar, 1)
    return f"{_STEM}.conda", pack_conda(_STEM, tar, pack_tar({"lib/x": b"x"}))


def _of_bytes(chance: Chance) -> tuple[str, bytes]:
    """Change the file as it is."""
    name, content = chance.choice(_SOUND)
    return name, _changed(chance, content)


def _of_tar(chance: Chance) -> tuple[str, bytes]:
    """Change the tar within."""
    return _packed(chance, _changed(chance, _TAR))


def _of_frame(chance: Chance) -> tuple[str, bytes]:
    """Change the zstd frame within, and keep the zip around it sound."""
    packed = pack_conda(_STEM, _TAR, pack_tar({"lib/x": b"x"}))
    frame = zstandard.compress(_TAR, 3)
    at = packed.find(frame[:20])
    if at < 0:
        return f"{_STEM}.conda", _changed(chance, packed)
    return f"{_STEM}.conda", packed[:at] + _flipped(chance, frame) + packed[at + len(frame) :]


def _of_text(chance: Chance) -> tuple[str, bytes]:
    """Change the text of one document."""
    files = _files()
    name = chance.choice([name for name in files if name.endswith(".json")])
    files[name] = _changed(chance, files[name])
    return _packed(chance, pack_tar(files))


def _of_value(chance: Chance) -> tuple[str, bytes]:
    """Put odd values into one document."""
    files = _files()
    name = chance.choice([name for name in files if name.endswith(".json")])
    document = json.loads(files[name])
    for _ in range(chance.randint(1, 3)):
        _set_somewhere(chance, document)
    files[name] = json.dumps(document).encode()
    return _packed(chance, pack_tar(files))


def _set_somewhere(chance: Chance, value: object) -> None:
    """Replace, remove or add a value at a random place in a JSON value."""
    while isinstance(value, dict | list) and value:
        key = chance.choice(list(value) if isinstance(value, dict) else range(len(value)))
        inner = value[key]
        if isinstance(inner, dict | list) and inner and chance.random() < 0.6:
            value = inner
            continue
        if chance.random() < 0.2:
            del value[key]
        else:
            value[key] = copy.deepcopy(chance.choice(_ODD))
        return


def _changed(chance: Chance, data: bytes) -> bytes:
    for _ in range(chance.randint(1, 4)):
        data = chance.choice([_flipped, _cut, _doubled, _inserted, _zeroed])(chance, data)
    return data


def _flipped(chance: Chance, data: bytes) -> bytes:
    if not data:
        return data
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]


def _cut(chance: Chance, data: bytes) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] if chance.random() < 0.3 else data[:at] + data[at + chance.randint(1, 8) :]


def _doubled(chance: Chance, data: bytes) -> bytes:
    start = chance.randrange(len(data) + 1)
    return data[:start] + data[max(0, start - chance.randint(1, 600)) :]


def _inserted(chance: Chance, data: bytes) -> bytes:
    at = chance.randrange(len(data) + 1)
    piece = chance.choice(_TOKENS) if chance.random() < 0.5 else chance.randbytes(4)
    return data[:at] + piece + data[at:]


def _zeroed(chance: Chance, data: bytes) -> bytes:
    at, size = chance.randrange(len(data) + 1), chance.choice([1, 4, 8, 12, 512])
    return data[:at] + bytes(min(size, len(data) - at)) + data[at + size :]


_TAR = pack_tar(_files())
_SOUND = [
    (f"{_STEM}.conda", pack_conda(_STEM, _TAR, pack_tar({"lib/x": b"x"}))),
    (f"{_STEM}.tar.bz2", bz2.compress(_TAR)),
]
_KINDS: list[Callable[[Chance], tuple[str, bytes]]] = [
    _of_bytes,
    _of_tar,
    _of_frame,
    _of_text,
    _of_value,
]
