"""Conda packages for tests: small, real, valid; conda and rattler install them."""

import bz2
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import zstandard

# The same arguments make the same bytes, whenever.
_BUILT_AT = 1_700_000_000
_ZIP_DATE = (2023, 11, 14, 22, 13, 20)
_MACHINES = {"64": "x86_64", "32": "x86"}


def build_package(  # noqa: PLR0913 - a keyword for each thing a test may care about
    folder: Path,
    name: str = "pkg",
    version: str = "1.0",
    build: str = "0",
    *,
    build_number: int = 0,
    subdir: str = "noarch",
    suffix: str = ".conda",
    depends: Iterable[str] = (),
    constrains: Iterable[str] = (),
    run_exports: Mapping[str, list[str]] | list[str] | None = None,
    about: Mapping[str, Any] | None = None,
    files: Mapping[str, bytes] | None = None,
    **index_fields: Any,
) -> Path:
    """Write a package into ``folder`` and return its path.

    ``files`` are the payload: ``{"share/pkg/readme.txt": b"..."}``. ``index_fields`` go into
    ``info/index.json`` as they are, over what is there.
    """
    index = {
        "name": name,
        "version": version,
        "build": build,
        "build_number": build_number,
        "depends": list(depends),
        "constrains": list(constrains),
        "subdir": subdir,
        "timestamp": _BUILT_AT * 1000,
    }
    index |= _platform(subdir) | index_fields
    payload = dict(files or {})
    info = info_files(index, payload, about=about, run_exports=run_exports)
    stem = f"{name}-{version}-{build}"
    path = folder / (stem + suffix)
    if suffix == ".conda":
        path.write_bytes(pack_conda(stem, pack_tar(info), pack_tar(payload)))
    else:
        path.write_bytes(bz2.compress(pack_tar(info | payload)))
    return path


def info_files(
    index: Mapping[str, Any],
    files: Mapping[str, bytes],
    *,
    about: Mapping[str, Any] | None = None,
    run_exports: Mapping[str, list[str]] | list[str] | None = None,
) -> dict[str, bytes]:
    """Return the members of info/ by path: ``{"info/index.json": b"{...}"}``."""
    documents: dict[str, Any] = {
        "info/index.json": index,
        "info/paths.json": {"paths_version": 1, "paths": _paths(files)},
        "info/about.json": about or {"summary": "made for a test"},
    }
    if run_exports is not None:
        documents["info/run_exports.json"] = run_exports
    if index.get("noarch") == "python":
        documents["info/link.json"] = {
            "package_metadata_version": 1,
            "noarch": {"type": "python", "entry_points": []},
        }
    members = {path: json.dumps(document).encode() for path, document in documents.items()}
    members["info/files"] = "".join(f"{path}\n" for path in files).encode()
    return members


def pack_tar(members: Mapping[str, bytes]) -> bytes:
    """Return a tar of plain files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(content), _BUILT_AT, 0o644
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def pack_conda(stem: str, info_tar: bytes, payload_tar: bytes) -> bytes:
    """Return the ``.conda`` of two tars."""
    return pack_zip(
        {
            "metadata.json": b'{"conda_pkg_format_version": 2}',
            f"pkg-{stem}.tar.zst": zstandard.compress(payload_tar),
            f"info-{stem}.tar.zst": zstandard.compress(info_tar),
        }
    )


def pack_zip(entries: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(zipfile.ZipInfo(name, _ZIP_DATE), content, method)
    return buffer.getvalue()


def _platform(subdir: str) -> dict[str, Any]:
    if subdir == "noarch":
        return {"noarch": "generic", "arch": None, "platform": None}
    platform, _, machine = subdir.partition("-")
    return {"arch": _MACHINES.get(machine, machine), "platform": platform}


def _paths(files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    return [
        {
            "_path": path,
            "path_type": "hardlink",
            "sha256": hashlib.sha256(content).hexdigest(),
            "size_in_bytes": len(content),
        }
        for path, content in sorted(files.items())
    ]
