"""How the tables of a store came to be: Alembic revisions, applied when a store is opened."""
