"""The tables of a store, the same in SQLite and PostgreSQL; `migrations` made them so, and a test compares the two."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

# Of the migrations, oldest first; the last is what the tables below are.
REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010", "0011", "0012", "0013")
# A name of its own: other programs in the same PostgreSQL database may have Alembic's default table.
VERSION_TABLE = "narformer_version"

metadata = MetaData()

graphs = Table(
    "graphs",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),  # Graph.to_json, compressed by zlib
)

# Hashes that an older narformer gave to Graphs, and what they are known by now.
former_hashes = Table(
    "former_hashes",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("graph", String(64), ForeignKey("graphs.hash"), nullable=False),
)

# Targets, by their ids, and whatever else something was measured on.
devices = Table(
    "devices",
    metadata,
    Column("id", Text, primary_key=True),
    Column("description", Text, nullable=False),
)

# One row a Measurement, its fields as columns.
measurements = Table(
    "measurements",
    metadata,
    # In the order of writing. SQLite counts up only in a column of exactly the type INTEGER.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    # Digest of all that follows: the same record added twice is one row.
    Column("digest", String(64), nullable=False, unique=True),
    Column("graph", String(64), ForeignKey("graphs.hash")),  # NULL: the network could not be read
    Column("model", Text, nullable=False),
    Column("device", Text, ForeignKey("devices.id"), nullable=False),
    Column("latency_ms", Double),
    Column("spread_ms", Double),
    Column("repeats", Integer, nullable=False),
    Column("drift", Double, nullable=False),
    Column("peak_memory_bytes", BigInteger),
    Column("failure", Text, nullable=False),
    Column("session", Text, nullable=False),
    Column("measured_at", Text, nullable=False),
    Column("batch_size", Integer, nullable=False, server_default="1"),
    Column("precision", Text, nullable=False, server_default=""),
    Column("min_ms", Double),
    Column("p90_ms", Double),
    Column("p99_ms", Double),
    Column("mean_ms", Double),
    CheckConstraint("(latency_ms IS NULL) = (failure <> '')", name="measured_or_failed"),
    Index("measurements_of_a_graph", "graph", "device"),
    Index("measurements_on_a_device", "device"),
)

# Networks that a run is measuring at this moment, so that another run on the same target takes others.
claims = Table(
    "claims",
    metadata,
    Column("graph", String(64), primary_key=True),
    Column("device", Text, primary_key=True),
    Column("session", Text, nullable=False),
    Column("until", Double, nullable=False),  # seconds since 1970, after which whoever claimed it has died
)
