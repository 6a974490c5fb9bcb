"""Where Alembic enters; whoever starts it passes the connection and all options."""

from alembic import context

context.configure(**context.config.attributes["configure"])
with context.begin_transaction():
    context.run_migrations()
