"""Networks have other hashes: squares, pads that move, groups of channels and native attention have one spelling."""

from alembic import op

from narformer.measurement.rehashing import rehash

revision = "0011"
down_revision = "0010"
# As in revision_0004.py.
HASHES = "93869865ade4d0e6"


def upgrade() -> None:
    rehash(op.get_bind())


def downgrade() -> None:
    pass
