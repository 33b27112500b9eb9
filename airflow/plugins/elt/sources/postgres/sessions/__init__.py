"""Sessions on a Postgres server, and how rows leave it."""
