"""Networks have other hashes: without channels that fill blocks, sums in any order, patterns found at a second look."""

from alembic import op

from narformer.measurement.rehashing import rehash

revision = "0004"
down_revision = "0003"
# What tests/measurement/test_hashes.py makes of the hashes that networks have from this revision on. A revision that is
# written stays as it is: other hashes are another revision.
HASHES = "941ff83ae6e19c63"


def upgrade() -> None:
    rehash(op.get_bind())


def downgrade() -> None:
    pass
