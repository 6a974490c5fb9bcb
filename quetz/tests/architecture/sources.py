"""The source files of quetz, for tests that read them."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import quetz

PACKAGE = Path(quetz.__file__).parent
ROOT = PACKAGE.parent


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def source_files(*, tests: bool = False) -> list[Path]:
    """List the modules of quetz; ``tests`` adds those under ``tests`` and ``testing``."""
    return [
        path
        for path in sorted(PACKAGE.rglob("*.py"))
        if tests or path.relative_to(PACKAGE).parts[0] not in {"tests", "testing"}
    ]


def shown(path: Path, node: ast.stmt | ast.expr) -> str:
    """Return the place as an editor takes it: ``quetz/errors.py:12``."""
    return f"{path.relative_to(ROOT)}:{node.lineno}"


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Yield each call with the last part of its name: ``commit`` for ``session.commit()``."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call):
            match node.func:
                case ast.Attribute(attr=name) | ast.Name(id=name):
                    yield name, node


def is_in(path: Path, *places: str) -> bool:
    """Tell whether ``path`` is one of ``places``, files or folders named from the package on."""
    return any(path.is_relative_to(PACKAGE / place) for place in places)
