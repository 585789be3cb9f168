"""Measurements have a batch size and a precision, which the ids of devices said before; ids are those of targets."""

import sqlalchemy as sa
from alembic import op

from narformer.measurement.rehashing import rehash
from narformer.measurement.renaming import rename_devices

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("measurements", sa.Column("batch_size", sa.Integer, nullable=False, server_default="1"))
    op.add_column("measurements", sa.Column("precision", sa.Text, nullable=False, server_default=""))
    rename_devices(op.get_bind())
    rehash(op.get_bind())


def downgrade() -> None:
    with op.batch_alter_table("measurements") as table:
        table.drop_column("precision")
        table.drop_column("batch_size")
