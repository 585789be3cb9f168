"""Networks have other hashes: attention with learned queries or turned ones, groups of one channel."""

from alembic import op

from narformer.measurement.rehashing import rehash

revision = "0005"
down_revision = "0004"
# As in revision_0004.py.
HASHES = "98345f1469dc48ba"


def upgrade() -> None:
    rehash(op.get_bind())


def downgrade() -> None:
    pass
