import subprocess

import pytest
from sqlalchemy import inspect, select, text
from sqlalchemy.orm import Session

from quetz.db.base import Base
from quetz.db.engine import open_engine
from quetz.db.models import File
from quetz.testing.databases import build_schema, chosen_dbinit, create_database, given_url
from quetz.testing.factories import make_channel, make_file
from quetz.testing.fixtures import FOLDER
from quetz.testing.postgresql import locale_folder, server_url

BYTE_ORDERED = {
    ("channels", "name"),
    ("files", "filename"),
    ("files", "name"),
    ("files", "subdir"),
    ("index_dirty", "name"),
    ("index_dirty", "subdir"),
    ("index_state", "subdir"),
    ("packages", "name"),
    ("replaced_files", "filename"),
    ("replaced_files", "subdir"),
    ("tombstones", "filename"),
    ("tombstones", "subdir"),
    ("users", "username"),
}

# In the order of their bytes; by the rules of a language, case and signs hardly count.
NAMES = [
    "-",
    "10",
    "2",
    "A",
    "Z",
    "_",
    "a",
    "a-b",
    "a.b",
    "aB",
    "a_b",
    "ab",
    "z",
    "\u00e0",
    "\u00e9",
]


def test_every_constraint_and_index_has_a_name_by_the_convention(engine):
    inspector = inspect(engine)
    prefixes = {}
    for table in Base.metadata.tables:
        if engine.dialect.name == "postgresql":  # SQLite writes AUTOINCREMENT without a name
            prefixes[inspector.get_pk_constraint(table)["name"]] = "pk_"
        for kind, found in {
            "fk_": inspector.get_foreign_keys(table),
            "uq_": inspector.get_unique_constraints(table),
            "ck_": inspector.get_check_constraints(table),
            "ix_": [one for one in inspector.get_indexes(table) if not one["unique"]],
        }.items():
            prefixes |= {one["name"]: kind for one in found}

    nameless = [name for name, prefix in prefixes.items() if not (name or "").startswith(prefix)]

    assert len(prefixes) > 40
    assert nameless == []


def test_names_of_constraints_fit_into_postgresql():
    tables = Base.metadata.tables.values()
    constraints = [str(one.name) for table in tables for one in table.constraints]
    indexes = [str(one.name) for table in tables for one in table.indexes]

    assert [name for name in constraints + indexes if len(name) > 63] == []


def test_names_are_byte_ordered_columns_on_every_database(engine):
    inspector = inspect(engine)

    found = {
        (table, column["name"]): getattr(column["type"], "collation", None)
        for table in Base.metadata.tables
        for column in inspector.get_columns(table)
    }

    # SQLite's own order, BINARY, is that of the bytes; PostgreSQL's is that of the database.
    expected = "C" if engine.dialect.name == "postgresql" else None
    assert {column: found[column] for column in BYTE_ORDERED} == dict.fromkeys(
        BYTE_ORDERED, expected
    )


def test_names_are_ordered_by_their_bytes(session):
    assert_byte_ordered(session)


def test_names_are_ordered_by_their_bytes_in_a_database_of_another_order(german_session):
    names = german_session.scalars(
        text("SELECT name FROM unnest(CAST(:names AS text[])) AS name ORDER BY name"),
        {"names": NAMES},
    ).all()
    assert names != NAMES

    assert_byte_ordered(german_session)


def assert_byte_ordered(session):
    channel = make_channel(session)
    for name in reversed(NAMES):
        file = make_file(session, channel, f"pkg{NAMES.index(name)}-1.0-0.conda")
        file.subdir = file.name = file.filename = name
    session.flush()

    for column in (File.subdir, File.name, File.filename):
        assert session.scalars(select(column).order_by(column)).all() == NAMES
        beyond = select(column).where(column > "a").order_by(column)
        assert session.scalars(beyond).all() == [name for name in NAMES if name > "a"]


@pytest.fixture
def german_session(request):
    """Open a session on a PostgreSQL database whose own order is that of German."""
    if given_url() is not None:
        pytest.skip("needs a PostgreSQL server of the tests' own")
    folder = request.config.stash[FOLDER]
    server = server_url(folder)
    make_locale(locale_folder(folder), "de_DE")
    order = "TEMPLATE template0 ENCODING 'UTF8' LOCALE 'de_DE.UTF-8'"
    url = create_database(server, "german", order)
    build_schema(url, chosen_dbinit())
    engine = open_engine(url)
    with Session(engine) as session:
        yield session
    engine.dispose()


def make_locale(folder, name):
    """Compile a locale from the system's sources, where it has them."""
    folder.mkdir()
    command = ["localedef", "-i", name, "-f", "UTF-8", str(folder / f"{name}.UTF-8")]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("the system has no sources of locales (Debian: apt-get install locales)")
