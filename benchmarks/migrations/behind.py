"""A plugin with tables that its revisions rebuild, fill and index: something to be behind of."""

from pathlib import Path
from textwrap import dedent

PLUGIN = "quetz-campaign"
PACKAGE = "quetz_campaign"

MODELS = """
    from sqlalchemy import CheckConstraint, ForeignKey, Index, String
    from sqlalchemy.orm import Mapped, mapped_column
    from quetz.plugin_api import Base, RowId

    class Shelf(Base):
        __tablename__ = "quetz_campaign_shelves"
        __table_args__ = (
            CheckConstraint("weight >= 0", name="weight"),
            Index("ix_quetz_campaign_shelves_room", "room"),
        )
        id: Mapped[int] = mapped_column(RowId, primary_key=True)
        name: Mapped[str] = mapped_column(String(200), unique=True)
        weight: Mapped[int] = mapped_column(server_default="0")
        room: Mapped[str | None] = mapped_column(String(50))

    class Book(Base):
        __tablename__ = "quetz_campaign_books"
        id: Mapped[int] = mapped_column(RowId, primary_key=True)
        shelf_id: Mapped[int] = mapped_column(
            ForeignKey("quetz_campaign_shelves.id", ondelete="CASCADE")
        )
        title: Mapped[str] = mapped_column(String(100))
"""

HEAD = '''
    """{message}"""

    import sqlalchemy as sa
    from alembic import op

    revision = "{revision}"
    down_revision = {parent!r}
    branch_labels = {label!r}
    depends_on = {depends!r}

'''

FIRST = """
    def upgrade():
        op.create_table(
            "quetz_campaign_shelves",
            sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
            sa.Column("name", sa.String(100), nullable=False),
            sa.PrimaryKeyConstraint("id", name=op.f("pk_quetz_campaign_shelves")),
            sa.UniqueConstraint("name", name=op.f("uq_quetz_campaign_shelves_name")),
        )
        op.create_table(
            "quetz_campaign_books",
            sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
            sa.Column(
                "shelf_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
            ),
            sa.Column("title", sa.String(100), nullable=False),
            sa.ForeignKeyConstraint(
                ["shelf_id"], ["quetz_campaign_shelves.id"], ondelete="CASCADE",
                name=op.f("fk_quetz_campaign_books_shelf_id_quetz_campaign_shelves"),
            ),
            sa.PrimaryKeyConstraint("id", name=op.f("pk_quetz_campaign_books")),
        )


    def downgrade():
        op.drop_table("quetz_campaign_books")
        op.drop_table("quetz_campaign_shelves")
"""

LATER = [
    (
        "add a column",
        'op.add_column("quetz_campaign_shelves", sa.Column("room", sa.String(50)))',
        'op.drop_column("quetz_campaign_shelves", "room")',
    ),
    (
        "rebuild the parent of other rows",
        """
        with op.batch_alter_table("quetz_campaign_shelves") as batch:
            batch.alter_column("name", type_=sa.String(200), existing_nullable=False)
            batch.add_column(sa.Column("weight", sa.Integer(), server_default="0", nullable=False))
            batch.create_check_constraint(op.f("ck_quetz_campaign_shelves_weight"), "weight >= 0")
        """,
        """
        with op.batch_alter_table("quetz_campaign_shelves") as batch:
            batch.drop_constraint(op.f("ck_quetz_campaign_shelves_weight"), type_="check")
            batch.drop_column("weight")
            batch.alter_column("name", type_=sa.String(100), existing_nullable=False)
        """,
    ),
    (
        "fill what is new",
        """
        op.execute("UPDATE quetz_campaign_shelves SET weight = id * 3, room = 'cellar'")
        op.execute("DELETE FROM quetz_campaign_books WHERE title = 'Book 7'")
        """,
        "pass",
    ),
    (
        "index the rooms",
        'op.create_index("ix_quetz_campaign_shelves_room", "quetz_campaign_shelves", ["room"])',
        'op.drop_index("ix_quetz_campaign_shelves_room")',
    ),
]
FIRST_REVISION = "c00000000000"
REVISIONS = [FIRST_REVISION, *(f"c{number:011x}" for number in range(1, len(LATER) + 1))]

FILL = [
    "INSERT INTO quetz_campaign_shelves (id, name) VALUES (:id, :name)",
    "INSERT INTO quetz_campaign_books (id, shelf_id, title) VALUES (:id, :id, :title)",
]


def install(site: Path, core_head: str, *, revisions: int = len(REVISIONS)) -> None:
    """Install the plugin, or its first ``revisions``, as a distribution in the folder ``site``."""
    package = site / PACKAGE
    versions = package / "migrations" / "versions"
    versions.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "hooks.py").touch()
    (package / "db_models.py").write_text(dedent(MODELS))
    record = site / f"{PACKAGE}-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PLUGIN}\nVersion: 1.0\n")
    (record / "entry_points.txt").write_text(f"[quetz]\n{PLUGIN} = {PACKAGE}.hooks\n")
    for number, revision in enumerate(REVISIONS[:revisions]):
        (versions / f"{revision}_revision.py").write_text(_source(number, revision, core_head))


def _source(number: int, revision: str, core_head: str) -> str:
    if number == 0:
        head = HEAD.format(
            message="first", revision=revision, parent=None, label=(PLUGIN,), depends=core_head
        )
        return dedent(head) + dedent(FIRST)
    message, up, down = LATER[number - 1]
    parent = REVISIONS[number - 1]
    head = HEAD.format(message=message, revision=revision, parent=parent, label=None, depends=None)
    return f"{dedent(head)}\ndef upgrade():\n{_body(up)}\n\n\ndef downgrade():\n{_body(down)}\n"


def _body(code: str) -> str:
    lines = dedent(code).strip().splitlines()
    return "\n".join(f"    {line}" for line in lines)
