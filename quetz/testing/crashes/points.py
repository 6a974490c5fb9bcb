"""The crash points of a package, read from its source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import quetz

_PACKAGE = Path(quetz.__file__).parent
_LEFT_OUT = {_PACKAGE / "tests", _PACKAGE / "testing"}


def list_points(folder: Path = _PACKAGE) -> list[str]:
    """Return the name of each call of `crashpoint` in the Python files of a folder, sorted.

    A name that stands at two places is there twice.

    Raises:
        ValueError: a name is no literal, so that nobody could list it.
    """
    files = [file for file in folder.rglob("*.py") if not _LEFT_OUT & set(file.parents)]
    return sorted(name for file in files for name in _names_in(file))


def _names_in(file: Path) -> Iterator[str]:
    text = file.read_text(encoding="utf-8")
    if "crashpoint(" not in text:
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "crashpoint":
            match node.args:
                case [ast.Constant(value=str(name))]:
                    yield name
                case _:
                    raise ValueError(f"{file}:{node.lineno}: the name of a crash point is no text")
