"""Measurements tell more of their repeats than the median; runs tell each other which networks they are measuring."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
COLUMNS = ("min_ms", "p90_ms", "p99_ms", "mean_ms")


def upgrade() -> None:
    for name in COLUMNS:
        op.add_column("measurements", sa.Column(name, sa.Double))
    op.create_table(
        "claims",
        sa.Column("graph", sa.String(64), primary_key=True),
        sa.Column("device", sa.Text, primary_key=True),
        sa.Column("session", sa.Text, nullable=False),
        sa.Column("until", sa.Double, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("claims")
    with op.batch_alter_table("measurements") as table:
        for name in COLUMNS:
            table.drop_column(name)
