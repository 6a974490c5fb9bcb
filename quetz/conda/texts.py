"""Canonical JSON, and documents joined from JSON texts that are not decoded again."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec


def encode_json(value: Any) -> str:
    """Return canonical JSON (keys sorted, compact, UTF-8): equal values give equal text."""
    return msgspec.json.encode(value, order="sorted").decode()


def join_object(members: Iterable[tuple[str, str]]) -> str:
    """Return the JSON object of ``members``: (key, JSON text), in the order given.

    A key is a file or package name, so it holds nothing that JSON would escape.
    """
    return "{" + ",".join([f'"{key}":{text}' for key, text in members]) + "}"


def join_by_format(files: Iterable[tuple[str, str]]) -> tuple[bytes, bytes]:
    """Return the members of ``packages`` and of ``packages.conda`` in an index (CEP 36).

    ``files`` are (file name, JSON text); each goes where its suffix belongs.
    """
    legacy: list[str] = []
    modern: list[str] = []
    for filename, text in files:
        members = legacy if filename.endswith(".tar.bz2") else modern
        members.append(f'"{filename}":{text}')
    return ",".join(legacy).encode(), ",".join(modern).encode()


def join_sections(texts: Sequence[bytes], sections: Sequence[bytes]) -> bytes:
    """Return the document of ``sections`` and the texts before, between and behind them."""
    parts = [part for pair in zip(texts, sections, strict=False) for part in pair]
    return b"".join([*parts, texts[-1]])
