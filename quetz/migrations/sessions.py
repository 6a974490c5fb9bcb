"""What a session of PostgreSQL is set to while it looks at a schema, or migrates it."""

from sqlalchemy import Connection, text

from quetz.errors.migrations import NoSchema

# Tables are made in the first schema of the search_path, and would be found in all of them.
_SEE = text("SELECT set_config('search_path', quote_ident(current_schema()), :local)")
_SCHEMA = text("SELECT current_schema()")
# A role may have any timeout, of which some end the session and its lock; a firewall may forget
# a connection that is silent for long. Which settings there are depends on the server's version.
_STAY = text("""
    SELECT set_config(name, value, :local)
    FROM (VALUES ('statement_timeout', '0'), ('transaction_timeout', '0'),
        ('idle_session_timeout', '0'), ('idle_in_transaction_session_timeout', '0'),
        ('tcp_keepalives_idle', '60')) AS wanted (name, value)
    WHERE name IN (SELECT name FROM pg_settings)
""")


def settle(connection: Connection, *, local: bool) -> None:
    """See the current schema alone, and stay connected; ``local`` to this transaction.

    Raises:
        NoSchema: there is no current schema.
    """
    if connection.scalar(_SCHEMA) is None:
        raise NoSchema
    connection.execute(_SEE, {"local": local})
    connection.execute(_STAY, {"local": local})
