"""Canonical JSON, and documents joined from JSON texts that are not decoded again."""

from collections.abc import Iterable
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


def join_by_format(files: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the members ``packages`` and ``packages.conda`` of an index (CEP 36).

    ``files`` are (file name, JSON text); each goes where its suffix belongs.
    """
    legacy: list[tuple[str, str]] = []
    modern: list[tuple[str, str]] = []
    for file in files:
        (legacy if file[0].endswith(".tar.bz2") else modern).append(file)
    return [("packages", join_object(legacy)), ("packages.conda", join_object(modern))]
