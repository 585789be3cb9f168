"""The first schema: graphs, devices, measurements."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "graphs",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "devices",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("description", sa.Text, nullable=False),
    )
    op.create_table(
        "measurements",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("graph", sa.String(64), sa.ForeignKey("graphs.hash")),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("device", sa.Text, sa.ForeignKey("devices.id"), nullable=False),
        sa.Column("latency_ms", sa.Double),
        sa.Column("spread_ms", sa.Double),
        sa.Column("repeats", sa.Integer, nullable=False),
        sa.Column("drift", sa.Double, nullable=False),
        sa.Column("peak_memory_bytes", sa.BigInteger),
        sa.Column("failure", sa.Text, nullable=False),
        sa.Column("session", sa.Text, nullable=False),
        sa.Column("measured_at", sa.Text, nullable=False),
        sa.CheckConstraint("(latency_ms IS NULL) = (failure <> '')", name="measured_or_failed"),
    )
    op.create_index("measurements_of_a_graph", "measurements", ["graph", "device"])
    op.create_index("measurements_on_a_device", "measurements", ["device"])


def downgrade() -> None:
    for table in ("measurements", "devices", "graphs"):
        op.drop_table(table)
