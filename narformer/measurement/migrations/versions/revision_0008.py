"""Networks have other hashes: transformers as Keras writes them, whose normalisations, biases and values are told."""

from alembic import op

from narformer.measurement.rehashing import rehash

revision = "0008"
down_revision = "0007"
# As in revision_0004.py.
HASHES = "a9e7007f756f458b"


def upgrade() -> None:
    rehash(op.get_bind())


def downgrade() -> None:
    pass
