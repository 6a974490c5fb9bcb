<%!
    def quoted(text):
        return text.replace("\\", "\\\\").replace('"', '\\"')
%>\
"""${message | quoted}

Revision ID: ${up_revision}
Revises: ${down_revision | comma,n}
Create Date: ${create_date}
"""

import sqlalchemy as sa
from alembic import op
% if imports:
${imports}
% endif

revision: str = ${repr(up_revision)}
down_revision: str | tuple[str, ...] | None = ${repr(down_revision)}
branch_labels: str | tuple[str, ...] | None = ${repr(branch_labels)}
depends_on: str | list[str] | None = ${repr(depends_on)}
% if loses:
# What is in these is gone for good when this is applied. What was only renamed is not.
loses: tuple[str, ...] = ${repr(tuple(loses))}
% endif


def upgrade() -> None:
    ${upgrades if upgrades else "# Write how to go up here.\n    pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "# Write how to go back down here.\n    pass"}
