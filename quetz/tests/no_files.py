"""What may have a name of a file and is none."""

import os
from pathlib import Path

import pytest


def _make_folder(path: Path) -> None:
    path.mkdir()


def _make_loop(path: Path) -> None:
    path.symlink_to(path.name)


NO_FILES = [
    pytest.param(_make_folder, id="a folder"),
    pytest.param(os.mkfifo, id="a pipe"),
    pytest.param(_make_loop, id="a link to itself"),
]
"""Functions that make one at a path."""
