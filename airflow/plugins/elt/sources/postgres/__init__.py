"""Postgres as a source: sessions, its catalogue, the copy, how far a cursor can be trusted, where a table comes from."""
