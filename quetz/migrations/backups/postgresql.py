"""Copies what quetz's role owns in its schema of a PostgreSQL database, by pg_dump."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, Popen
from tempfile import TemporaryFile
from typing import cast

from psycopg import Connection as PsycopgConnection
from sqlalchemy import Connection, Engine, func, select, table, text

from quetz.crashpoints import crashpoint
from quetz.errors.migrations import BackupToolMissing
from quetz.migrations.backups.tools import ToolFailed, Tools, complaint, find_tools
from quetz.migrations.sessions import settle

SUFFIX = ".pgdump"

_LOCK_SECONDS = 60

_OURS = """
    FROM pg_class AS class
    WHERE class.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
    AND class.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    AND (class.tableoid, class.oid) NOT IN
        (SELECT classid, objid FROM pg_depend WHERE deptype = 'e')
    AND {negation} pg_has_role(class.relowner, 'USAGE')
"""
_TABLES = text(f"SELECT class.relname {_OURS.format(negation='')} AND class.relkind = 'r'")
_FOREIGN = text(f"SELECT class.relname {_OURS.format(negation='NOT')}")
_BYTES = text(f"SELECT coalesce(sum(pg_table_size(class.oid)), 0) {_OURS.format(negation='')}")
_OTHER_ROLES = text("SELECT rolname FROM pg_roles WHERE NOT pg_has_role(oid, 'USAGE')")

_RARE = " UNION ALL ".join(
    f"SELECT tableoid, oid, {column}namespace, {column}owner FROM {catalog}"  # noqa: S608 (our own text)
    for catalog, column in {
        "pg_collation": "coll",
        "pg_conversion": "con",
        "pg_opclass": "opc",
        "pg_operator": "opr",
        "pg_opfamily": "opf",
        "pg_ts_config": "cfg",
        "pg_ts_dict": "dict",
    }.items()
)
# What CASCADE may take of the relations ``others``, and functions of other roles.
_THEIRS = """
    SELECT format('column %s.%s', attrelid, attnum) FROM pg_attribute
    WHERE attrelid = ANY (others) AND NOT attisdropped
    UNION ALL SELECT format('default %s', oid) FROM pg_attrdef WHERE adrelid = ANY (others)
    UNION ALL SELECT format('trigger %s', oid) FROM pg_trigger
    WHERE tgrelid = ANY (others) AND NOT tgisinternal
    UNION ALL SELECT format('constraint %s', oid) FROM pg_constraint
    WHERE conrelid = ANY (others)
    UNION ALL SELECT format('function %s', oid) FROM pg_proc
    WHERE NOT pg_has_role(proowner, 'USAGE')
"""
# What was made after the backup has to go, too, and nothing of others with it.
_DROP = f"""
BEGIN;
SET LOCAL lock_timeout = '{_LOCK_SECONDS}s';
SET LOCAL client_min_messages = warning;
DO $drop$
DECLARE
    place oid := (SELECT oid FROM pg_namespace WHERE nspname = current_schema());
    ours oid[] := ARRAY(SELECT class.oid {_OURS.format(negation="")});
    others oid[] := ARRAY(
        SELECT oid FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f')
        AND relpersistence <> 't' AND oid <> ALL (ours));
    theirs text[] := ARRAY({_THEIRS});
    prefix text := quote_ident(current_schema());
    statement text;
BEGIN
    FOR statement IN
        SELECT format('DROP %s IF EXISTS %s CASCADE', kind, name)
        FROM (
            SELECT 1 AS turn, relkind AS letter, format('%s.%I', prefix, relname) AS name,
                CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
                WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END AS kind
            FROM pg_class WHERE oid = ANY (ours)
            UNION ALL
            SELECT 2, '',
                format('%s.%I(%s)', prefix, proname, coalesce(
                    nullif(pg_get_function_identity_arguments(oid), ''),
                    CASE prokind WHEN 'a' THEN '*' ELSE '' END)),
                CASE prokind WHEN 'a' THEN 'AGGREGATE' ELSE 'ROUTINE' END
            FROM pg_proc WHERE pronamespace = place AND pg_has_role(proowner, 'USAGE')
            AND (tableoid, oid) NOT IN  -- a type of ranges brings functions of its own
                (SELECT classid, objid FROM pg_depend WHERE deptype IN ('e', 'i'))
            UNION ALL
            SELECT 3, '', format('%s.%I', prefix, typname), 'TYPE'
            FROM pg_type WHERE typnamespace = place AND pg_has_role(typowner, 'USAGE')
            AND (typtype IN ('e', 'd', 'r') OR EXISTS
                (SELECT FROM pg_class WHERE oid = typrelid AND relkind = 'c'))
            AND (tableoid, oid) NOT IN
                (SELECT classid, objid FROM pg_depend WHERE deptype = 'e')
            UNION ALL
            SELECT 4, '', described.identity, upper(described.type)
            FROM ({_RARE}) AS rare (class, object, place_of_it, its_owner),
                pg_identify_object(class, object, 0) AS described
            WHERE place_of_it = place AND pg_has_role(its_owner, 'USAGE')
            AND (class, object) NOT IN
                (SELECT classid, objid FROM pg_depend WHERE deptype = 'e')
        ) AS things
        ORDER BY turn, letter DESC  -- sequences belong to tables, and come last
    LOOP
        EXECUTE statement;
    END LOOP;
    IF NOT theirs <@ ARRAY({_THEIRS})
    THEN
        RAISE EXCEPTION 'tables or views of others depend on those that would be replaced';
    END IF;
END
$drop$;
"""  # noqa: S608 (our own text)

_COUNT = """
    IF (SELECT count(*) FROM {table}) <> {rows} THEN
        RAISE EXCEPTION 'a restored table has not the rows that were backed up: %', {name};
    END IF;
"""


def name_of(engine: Engine) -> str:
    with engine.connect() as connection:
        reached = cast("PsycopgConnection[object]", connection.connection.driver_connection).info
        return f"{reached.host}:{reached.port}/{reached.dbname}/{_schema(connection)}"


def needed_bytes(engine: Engine) -> int:
    """Return what the rows take; a dump is compressed, and rarely larger."""
    with engine.connect() as connection:
        return int(connection.scalar(_BYTES) or 0)


def copy(engine: Engine, target: Path) -> dict[str, int]:
    """Copy one state of the database, and return its rows per table.

    Raises:
        BackupToolMissing: there is no pg_dump that is as new as the server.
    """
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with engine.connect().execution_options(**options) as connection:
        settle(connection, local=True)  # the snapshot goes with the connection
        tools = find_tools(engine, _server_version(connection))
        schema = _schema(connection)
        snapshot = connection.scalar(text("SELECT pg_export_snapshot()"))
        foreign = [_pattern(schema, name) for name in connection.scalars(_FOREIGN)]
        target.touch(mode=0o600, exist_ok=False)
        tools.run(
            "pg_dump",
            "--format=custom",
            "--compress=1",
            "--no-password",
            f"--lock-wait-timeout={_LOCK_SECONDS}s",
            f"--snapshot={snapshot}",
            f"--schema={_quoted(schema)}",
            *(f"--exclude-table={pattern}" for pattern in foreign),
            f"--file={target}",
        )
        crashpoint("backup.dumped")
        tables = list(connection.scalars(_TABLES))
        return {name: _count(connection, schema, name) for name in tables}


def verify(file: Path) -> None:
    """Raises ToolFailed: pg_restore cannot read the file."""
    try:
        find_tools().run("pg_restore", "--list", str(file))
    except BackupToolMissing as error:
        raise ToolFailed(error.reason) from error


def restore(engine: Engine, file: Path, rows: Mapping[str, int]) -> None:
    """Replace all that the role owns in the schema, in one transaction.

    pg_restore only writes the statements, for psql: it would itself leave the tables that were
    made after the backup, and drop the schema, which may be another's.

    Raises:
        ToolFailed: nothing was changed.
    """
    with engine.connect() as connection:
        schema = _schema(connection)
        tools = find_tools(engine)
        others = tuple(f" {role}" for role in connection.scalars(_OTHER_ROLES))
    # Such as privileges that an administrator gave by default: they were not dropped.
    listed = tools.run("pg_restore", "--list", str(file)).splitlines(keepends=True)
    ours = [line for line in listed if line[:1] == ";" or not line.rstrip().endswith(others)]
    checks = [
        _COUNT.format(table=_pattern(schema, name), rows=count, name=_literal(name))
        for name, count in rows.items()
    ]
    tail = f"DO $check$ BEGIN {''.join(checks)} END $check$;\nCOMMIT;\n"
    _execute(tools, schema, file, "".join(ours), tail)


def _execute(tools: Tools, schema: str, file: Path, listed: str, tail: str) -> None:
    """Let psql run it all; whoever dies on the way leaves a transaction without its COMMIT."""
    command = tools.command(
        "psql",
        "--no-psqlrc",
        "--quiet",
        "--no-password",
        "--set=ON_ERROR_STOP=1",
        "--output=/dev/null",
        "--file=-",
    )
    with (
        TemporaryFile() as errors,
        Popen(command, env=tools.environment, stdin=PIPE, stderr=errors) as psql,  # noqa: S603
    ):
        assert psql.stdin is not None
        failure: ToolFailed | None = None
        try:
            with suppress(BrokenPipeError):  # it cannot connect, and says so
                psql.stdin.write(_DROP.encode())
                psql.stdin.flush()
            tools.run(
                "pg_restore",
                "--clean",
                "--if-exists",
                f"--schema={schema}",
                "--use-list=/dev/stdin",
                "--file=-",
                str(file),
                given=listed,
                output=psql.stdin,
            )
        except ToolFailed as error:
            failure = error
        crashpoint("restore.piped")
        psql.communicate(tail.encode() if failure is None else b"")
        errors.seek(0)
        if psql.returncode != 0:
            raise ToolFailed(complaint("psql", psql.returncode, errors.read()))
        if failure is not None:
            raise failure


def _schema(connection: Connection) -> str:
    schema: str | None = connection.scalar(text("SELECT current_schema()"))
    if schema is None:
        raise ToolFailed("no schema of the role's search_path exists in the database")
    return schema


def _server_version(connection: Connection) -> int:
    return int(connection.scalar(text("SHOW server_version_num"))) // 10_000


def _count(connection: Connection, schema: str, name: str) -> int:
    query = select(func.count()).select_from(table(name, schema=schema))
    return connection.scalar(query) or 0


def _pattern(schema: str, name: str) -> str:
    return f"{_quoted(schema)}.{_quoted(name)}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"
