"""What a broken plugin declared is gone: the models of the core work as if it had not been."""

import pytest

from quetz.tests.migrations.distributions import Site

MODEL = """
    import sqlalchemy as sa
    from sqlalchemy import ForeignKey
    from sqlalchemy.orm import Mapped, mapped_column, relationship
    from quetz.plugin_api import Base, Channel, RowId

    class Foo(Base):
        __tablename__ = "{table}"
        id: Mapped[int] = mapped_column(RowId, primary_key=True)
        {more}
"""

USES_CHANNELS = """
    from sqlalchemy import inspect, select
    from sqlalchemy.engine import make_url
    from sqlalchemy.orm import Session
    from quetz.db.base import Base
    from quetz.db.engine import open_engine
    from quetz.db.models import Channel

    plugins = load_plugins([])
    engine = open_engine(make_url({url!r})).execution_options(write=True)
    with Session(engine) as session:
        Base.metadata.create_all(session.connection())
        session.add(Channel(name="forge"))
        session.flush()
        session.expire_all()
        channel = session.scalars(select(Channel)).one()
        name, state = channel.name, inspect(channel)
        session.delete(channel)
        session.flush()
    engine.dispose()
    return {{
        "name": name,
        "relationships": list(state.mapper.relationships.keys()),
        "broken": {{name: error.reason for name, error in plugins.broken.items()}},
    }}
"""

OWNED = """channel_id: Mapped[int] = mapped_column(ForeignKey("channels.id"))
        channel: Mapped[Channel] = relationship(backref="foos")"""


def model(table: str = "quetz_foo", more: str = "") -> str:
    return MODEL.format(table=table, more=more)


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


@pytest.mark.parametrize(
    ("models", "reason"),
    [
        pytest.param(model(more=OWNED) + "\n    1 / 0", "ZeroDivisionError", id="a-backref"),
        pytest.param(
            model(more=OWNED) + "\n    Foo()\n    1 / 0",
            "ZeroDivisionError",
            id="a-backref-that-was-made",
        ),
        pytest.param(
            model(more=OWNED) + "\n    Foo.bars = relationship('Bar')",
            "expression 'Bar' failed to locate a name",
            id="a-backref-beside-a-fault",
        ),
        pytest.param(
            model() + "\n    Channel.foos = relationship('Bar')",
            "expression 'Bar' failed to locate a name",
            id="a-relationship-put-on-a-class-of-ours",
        ),
        pytest.param(
            model() + "\n    class Mine(Channel): ...\n    Mine()\n    1 / 0",
            "ZeroDivisionError",
            id="an-heir-of-a-class-of-ours",
        ),
        pytest.param(
            model() + "\n    Channel.extra = mapped_column(sa.Integer)",
            "changes the table 'channels' of quetz; declare a table of its own",
            id="a-column-in-a-table-of-ours",
        ),
        pytest.param(
            model() + "\n    sa.Index('ix_foo', Channel.description)",
            "changes the table 'channels' of quetz",
            id="an-index-on-a-table-of-ours",
        ),
        pytest.param(
            model("channels", "__table_args__ = {'extend_existing': True}"),
            "changes the table 'channels' of quetz",
            id="a-class-that-extends-a-table-of-ours",
        ),
    ],
)
def test_the_models_of_the_core_work_as_if_a_broken_plugin_had_not_been(
    site, empty_database_url, models, reason
):
    site.install("quetz-foo", {"db_models.py": models})
    url = empty_database_url.render_as_string(hide_password=False)

    found = site.run(USES_CHANNELS.format(url=url))

    assert (found["name"], found["relationships"]) == ("forge", [])
    assert reason in found["broken"]["quetz-foo"]
