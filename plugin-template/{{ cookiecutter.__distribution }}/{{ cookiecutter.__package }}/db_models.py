"""The tables of this plugin. Their names are, or begin with, the name of the package.

A first table could be::

    from sqlalchemy import ForeignKey
    from sqlalchemy.orm import Mapped, mapped_column

    from quetz.plugin_api import Base, Milliseconds, RowId, now_ms


    class Note(Base):
        __tablename__ = "{{ cookiecutter.__package }}_notes"

        id: Mapped[int] = mapped_column(RowId, primary_key=True)
        channel_id: Mapped[int] = mapped_column(ForeignKey("channels.id", ondelete="CASCADE"))
        text: Mapped[str]
        created_at: Mapped[int] = mapped_column(Milliseconds, default=now_ms)

Write it below this text, then let ``quetz make-migrations`` write the migration, as the README
shows. A foreign key to a table of quetz refers to its primary key and has ``ondelete`` "CASCADE"
or "SET NULL". A column that is added later may be null, or has a ``server_default`` for the rows
that are there already.
"""
