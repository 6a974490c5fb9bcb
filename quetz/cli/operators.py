"""What commands share that work in a deployment as its operator, without a server."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from quetz.cli.redaction import json_of, plain, redact
from quetz.errors import BadOption

if TYPE_CHECKING:
    from sqlalchemy import Row
    from sqlalchemy.orm import Session

    from quetz.db.models import User
    from quetz.deployment import Deployment


@contextmanager
def opened(path: Path | None, by_option: Path | None = None) -> Iterator["Deployment"]:
    """Open the deployment in the folder that is given in either way, or in the current one.

    Raises:
        BadOption: it is given in both.
    """
    from quetz.deployment import Deployment

    if path and by_option:
        raise BadOption("the folder is given as PATH and by --deployment; choose one")
    with closing(Deployment.open(path or by_option or Path())) as deployment:
        yield deployment


@contextmanager
def reading(path: Path | None, by_option: Path | None) -> Iterator["Session"]:
    with opened(path, by_option) as deployment, deployment.transaction() as session:
        yield session


@contextmanager
def changing(path: Path | None, by_option: Path | None) -> Iterator["Session"]:
    with opened(path, by_option) as deployment, deployment.transaction(write=True) as session:
        yield session


def confirm(what: str, *, yes: bool) -> None:
    """Ask whether to delete ``what``, unless that was answered.

    Raises:
        BadOption: nobody is there to answer.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadOption(f"to delete {what} without being asked, add --yes")
    typer.confirm(f"Delete {what}?", abort=True, err=True)


def print_line(text: str, *, err: bool = False) -> None:
    """Print a line for people, which may hold what uploaders wrote."""
    typer.echo(plain(redact(text)), err=err)


def tell(document: Any, sentence: str, *, as_json: bool) -> None:
    """Print what was done: as JSON, or in a sentence."""
    if as_json:
        typer.echo(json_of(document))
    else:
        print_line(sentence, err=True)


def print_new_key(document: Any, key: str, sentence: str, *, as_json: bool) -> None:
    """Print an API key, which is a result and not redacted."""
    if as_json:
        typer.echo(json_of(document, results={"key": key}))
        return
    print_line(f"{sentence}; keep the key, it is not shown again", err=True)
    typer.echo(key)


def print_document(
    document: Any, lines: Iterable[str], *, nothing: str = "", as_json: bool
) -> None:
    """Print a document: as JSON, or in lines; ``nothing`` is told of one that is empty."""
    if as_json:
        typer.echo(json_of(document, indent=2))
        return
    for line in lines:
        print_line(line)
    if not document:
        print_line(nothing, err=True)


def print_rows(
    documents: Sequence[dict[str, Any]],
    cells: Callable[[dict[str, Any]], Iterable[object]],
    *,
    nothing: str,
    as_json: bool,
) -> None:
    """Print documents: as JSON, or as a table of their ``cells``."""
    print_document(documents, _table(map(cells, documents)), nothing=nothing, as_json=as_json)


def print_members(members: Iterable["Row[User, str]"], *, as_json: bool) -> None:
    documents = [{"username": user.username, "role": role} for user, role in members]
    print_rows(documents, dict.values, nothing="There is no member", as_json=as_json)


def _table(rows: Iterable[Iterable[object]]) -> Iterator[str]:
    lines = [["-" if cell is None else plain(str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        yield "  ".join(padded).rstrip()
