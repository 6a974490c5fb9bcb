"""Tells of an SQLite table what reflection does not: its statement, read word by word."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection

_TOKEN = re.compile(
    r"""--[^\n]* | /\*.*?\*/ | [xX]?'(?:[^']|'')*' | "(?:[^"]|"")*" | `(?:[^`]|``)*` | \[[^\]]*\]
    | \d[\d.]*(?:[eE][+-]?\d+)? | \w+ | [|<>=!]+ | \S""",
    re.VERBOSE | re.DOTALL,
)
_QUOTES = {'"': '"', "'": "'", "`": "`", "[": "]"}
_CLAUSES = "as check collate conflict constraint default deferrable foreign generated not null on "
_KEYWORDS = frozenset((_CLAUSES + "primary references unique").split())
_CONSTRAINTS = ("constraint ", "primary key", "unique", "check", "foreign key")
_BLANK = "\0"  # in a part in parentheses or quotes, which so is one word

_COLLATION = re.compile(r" collate (\S+)")
_GENERATED = re.compile(r" as (\(\S+\))((?: stored)?)")
_CHECK = re.compile(r"(?:^| )check (\(\S+\))")
_NOT_NULL = re.compile(r" not null( on conflict \w+)")
_KEY = re.compile(r"(?:^| )primary key(?: (\(\S+\)))?(?: asc| desc)?( on conflict \w+)?")
_UNIQUE = re.compile(r"(?:^| )unique\b(?: (\(\S+\)))?( on conflict \w+)?")
_REFERENCE = re.compile(
    r"(?:^foreign key (\(\S+\)))? references (\S+)(.*?)"
    r"(?=$| references | check | not null| unique\b)"
)
_DEFERRED = re.compile(r"(?<!not) deferrable initially deferred")


class Part(NamedTuple):
    """Something that a table has: what it is, on which columns."""

    kind: str
    columns: tuple[str, ...]
    more: str = ""

    def __str__(self) -> str:
        columns = f" ({', '.join(self.columns)})" if self.columns else ""
        return f"{self.kind}{columns}{self.more}".replace(_BLANK, " ")


Parts = Mapping[Part, tuple[str, ...]]
"""How each part of a table is, such as ``{Part("collation", ("name",)): ("NOCASE",)}``."""


@dataclass(frozen=True)
class Definitions:
    """The columns of a table, by name, and its constraints, in lower case without comments."""

    columns: dict[str, str]
    constraints: list[str]

    @classmethod
    def parse(cls, statement: str, names: Mapping[str, str]) -> "Definitions":
        """Read a statement as SQLite keeps it; ``names`` has columns that are called otherwise."""
        columns, constraints = {}, []
        for words in _definitions(statement, names):
            text = " ".join(words)
            if text.startswith(_CONSTRAINTS):
                constraints.append(re.sub(r"^constraint \S+ ", "", text))
            else:
                columns[plain(words[0])] = text
        return cls(columns, constraints)

    def expression(self, column: str) -> str:
        """Return what a generated column is made by."""
        found = _GENERATED.search(self.columns.get(column, ""))
        return found[1][1:-1].replace(_BLANK, " ") if found else ""

    def generation(self, column: str) -> str:
        found = _GENERATED.search(self.columns.get(column, ""))
        return f"{self.expression(column)}{found[2]}" if found else ""

    def collation(self, column: str) -> str:
        found = _COLLATION.search(self.columns.get(column, ""))
        return found[1].upper() if found else ""


def table_sql(connection: Connection, table: str) -> str:
    """Return the statement that made the table; "" if there is no such table."""
    query = "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ? COLLATE NOCASE"
    return connection.exec_driver_sql(query, (table,)).scalar() or ""


def has_autoincrement(connection: Connection, table: str) -> bool:
    return "autoincrement" in table_sql(connection, table).lower()


def definitions(
    connection: Connection, table: str, names: Mapping[str, str] | None = None
) -> Definitions:
    return Definitions.parse(table_sql(connection, table), names or {})


def renamed(statement: str, names: Mapping[str, str]) -> str:
    """Write a statement with other names of columns."""

    def name(found: re.Match[str]) -> str:
        new = names.get(plain(found[0]))
        return found[0] if new is None or found[0][0] == "'" else '"' + new.replace('"', '""') + '"'

    return _TOKEN.sub(name, statement)


def plain(word: str) -> str:
    """Return a name as SQLite compares it: without quotes, in lower case."""
    end = _QUOTES.get(word[0])
    name = word[1:-1].replace(word[0] * 2, word[0]) if end else word
    return name.replace(_BLANK, " ").lower()


def parts(connection: Connection, table: str, names: Mapping[str, str] | None = None) -> Parts:
    """Return all that a copy of a table may lose."""
    names = names or {}
    found: dict[Part, list[str]] = defaultdict(list)
    read = definitions(connection, table, names)
    query = (
        "SELECT wr, strict FROM pragma_table_list WHERE schema = 'main' AND name = ? COLLATE NOCASE"
    )
    found[Part("options", ())] += map(str, connection.exec_driver_sql(query, (table,)))
    for row in connection.exec_driver_sql("SELECT * FROM pragma_table_xinfo(?)", (table,)):
        for part, value in _parts_of_column(row, names.get(row.name.lower(), row.name), read):
            found[part].append(value)
    for part, value in [
        *_keys(connection, table, names),
        *((one.part, f"{one[1:]}") for one in references(connection, table, names)),
        *_parts_in_words(read),
    ]:
        found[part].append(value)
    return {part: tuple(sorted(values)) for part, values in found.items()}


def _parts_of_column(row: Any, name: str, read: Definitions) -> Iterator[tuple[Part, str]]:
    column = (name.lower(),)
    yield Part("affinity", column), affinity_of(row.type)
    yield Part("default", column), re.sub(r"^\((.*)\)$", r"\1", row.dflt_value or "")
    conflict = _NOT_NULL.search(read.columns.get(name.lower(), ""))
    yield Part("NOT NULL", column), f"{bool(row.notnull)}{conflict[1] if conflict else ''}"
    yield Part("generation", column), read.generation(*column)
    yield Part("collation", column), read.collation(*column)


def affinity_of(declared: str) -> str:
    """Return how SQLite stores what is put into a column of a type (datatype3.html, 3.1)."""
    for affinity, words in {
        "INTEGER": ("INT",),
        "TEXT": ("CHAR", "CLOB", "TEXT"),
        "BLOB": ("BLOB",),
        "REAL": ("REAL", "FLOA", "DOUB"),
    }.items():
        if any(word in declared.upper() for word in words):
            return affinity
    return "NUMERIC" if declared else "BLOB"


def _keys(
    connection: Connection, table: str, names: Mapping[str, str]
) -> Iterator[tuple[Part, str]]:
    """Tell how the primary key and the unique constraints are ordered and compared."""
    kinds = {"pk": "primary key", "u": "unique"}
    query = "SELECT name, origin FROM pragma_index_list(?) WHERE origin <> 'c'"
    for index in connection.exec_driver_sql(query, (table,)).all():
        query = "SELECT name, desc, coll FROM pragma_index_xinfo(?) WHERE key"
        rows = connection.exec_driver_sql(query, (index.name,)).all()
        columns = tuple(names.get(row.name.lower(), row.name).lower() for row in rows)
        yield (
            Part(kinds[index.origin], columns),
            f"{[(row.desc, row.coll.upper()) for row in rows]}",
        )


class Reference(NamedTuple):
    """A foreign key: its part of the table, and what SQLite does when the parent changes."""

    part: Part
    keys: list[str]
    on_update: str
    on_delete: str
    match: str

    def actions(self) -> tuple[str | None, str | None]:
        """Return what SQLAlchemy calls ``ondelete`` and ``onupdate``."""
        none = {"NO ACTION": None}
        return none.get(self.on_delete, self.on_delete), none.get(self.on_update, self.on_update)


def references(connection: Connection, table: str, names: Mapping[str, str]) -> Iterator[Reference]:
    found: dict[int, list[Any]] = defaultdict(list)
    query = "SELECT * FROM pragma_foreign_key_list(?) ORDER BY id, seq"
    for row in connection.exec_driver_sql(query, (table,)):
        found[row.id].append(row)
    for rows in found.values():
        one = rows[0]
        columns = tuple(names.get(row[3].lower(), row[3]).lower() for row in rows)
        keys = [row.to for row in rows] if one.to else _primary_key(connection, one.table)
        part = Part("foreign key", columns, f" to {one.table.lower()}")
        yield Reference(part, keys, one.on_update, one.on_delete, one.match)


def _primary_key(connection: Connection, table: str) -> list[str]:
    query = "SELECT name FROM pragma_table_info(?) WHERE pk ORDER BY pk"
    return list(connection.exec_driver_sql(query, (table,)).scalars())


def _parts_in_words(read: Definitions) -> Iterator[tuple[Part, str]]:
    """Tell what no pragma does."""
    named = [(text, (column,)) for column, text in read.columns.items()]
    for text, column in [*named, *((text, ()) for text in read.constraints)]:
        for kind, clause in {"primary key": _KEY, "unique": _UNIQUE}.items():
            for listed, conflict in clause.findall(text):
                yield Part(kind, column or _names_in(listed)), conflict
        for listed, parent, rest in _REFERENCE.findall(text):
            part = Part("foreign key", column or _names_in(listed), f" to {plain(parent)}")
            yield part, str(bool(_DEFERRED.search(rest)))
        for condition in _CHECK.findall(text):
            words = condition[1:-1].split(_BLANK)
            columns = tuple(sorted({plain(word) for word in words} & read.columns.keys()))
            yield Part("check", columns, f" {condition}"), ""


def _names_in(listed: str) -> tuple[str, ...]:
    """Return the columns of ``(a, b collate nocase)``."""
    return tuple(
        plain(re.split(rf"{_BLANK}(?:collate|asc|desc)\b", one)[0])
        for one in listed[1:-1].split(f"{_BLANK},{_BLANK}")
    )


def _definitions(statement: str, names: Mapping[str, str]) -> Iterator[list[str]]:
    """Yield the words of each column and constraint of a table; what is nested is one word."""
    nested: list[list[str]] = []
    for found in _TOKEN.finditer(statement):
        piece = found[0]
        if piece.startswith(("--", "/*")):
            continue
        if piece == "(":
            nested.append([])
        elif piece == ")" and len(nested) > 1:
            inner = _BLANK.join(nested.pop())
            nested[-1].append(f"({inner})")
        elif piece in {",", ")"} and len(nested) == 1:
            yield nested[0]
            nested[0] = []
            if piece == ")":
                return
        elif nested:
            nested[-1].append(_word(piece, names))


def _word(piece: str, names: Mapping[str, str]) -> str:
    """Write a piece as it is compared: a quote that is not needed does not count."""
    if piece.endswith("'"):
        return piece.replace(" ", _BLANK)
    word = names.get(plain(piece), plain(piece)).lower()
    if piece[0] in _QUOTES and (not re.fullmatch(r"[a-z_]\w*", word) or word in _KEYWORDS):
        return '"' + word.replace('"', '""').replace(" ", _BLANK) + '"'
    return word
