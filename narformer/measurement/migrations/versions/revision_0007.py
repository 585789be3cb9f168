"""Networks have other hashes: shared weights do not count, vectors of ones and zeros stay, some normalisations."""

from alembic import op

from narformer.measurement.rehashing import rehash

revision = "0007"
down_revision = "0006"
# As in revision_0004.py.
HASHES = "83a344cd534f406a"


def upgrade() -> None:
    rehash(op.get_bind())


def downgrade() -> None:
    pass
