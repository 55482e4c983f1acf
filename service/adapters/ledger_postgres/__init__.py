"""The ledger in PostgreSQL, for many processes."""
