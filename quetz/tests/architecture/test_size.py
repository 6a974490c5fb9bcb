"""Files and functions stay small; ruff holds complexity to 8."""

import ast

from quetz.tests.architecture.sources import ROOT, is_in, parsed, shown, source_files

FILE_LINES = 400
FUNCTION_LINES = 50

# A migration is written by `quetz make-migrations`, as long as the change is.
WRITTEN = [path for path in source_files(tests=True) if not is_in(path, "migrations/versions")]


def test_no_file_is_longer_than_400_lines():
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in WRITTEN
    }

    assert {path: n for path, n in lengths.items() if n > FILE_LINES} == {}


def test_no_function_is_longer_than_50_lines():
    lengths = {
        f"{shown(path, node)} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in WRITTEN
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }

    assert {name: n for name, n in lengths.items() if n > FUNCTION_LINES} == {}
