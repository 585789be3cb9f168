"""Networks are known by the hash of their canonical form; hashes that they had before are remembered."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "former_hashes",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("graph", sa.String(64), sa.ForeignKey("graphs.hash"), nullable=False),
    )
    # The hashes themselves are computed by revision 0003, when the tables have the columns that they have now.


def downgrade() -> None:
    op.drop_table("former_hashes")
