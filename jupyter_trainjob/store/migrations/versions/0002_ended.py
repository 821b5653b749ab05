"""What ended attempts used, which outlives their jobs.

Revision 0002, after 0001.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """What ended before is not in it: usage is counted from here on."""
    op.create_table(
        "trainjob_ended",
        sa.Column("uid", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("backend", sa.Text, nullable=False),
        sa.Column("cpu_millis", sa.BigInteger, nullable=False),
        sa.Column("memory_bytes", sa.BigInteger, nullable=False),
        sa.Column("gpu", sa.BigInteger, nullable=False),
        sa.Column("since", sa.Float(53), nullable=False),
        sa.Column("until", sa.Float(53), nullable=False),
        sa.Column("overtook", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("uid", "attempt", name="pk_trainjob_ended"),
    )
    op.create_index("ix_trainjob_ended_until", "trainjob_ended", ["until"])
