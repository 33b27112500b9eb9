"""Postgres as a source: sessions, catalogue, copy, cursor horizon, origin of tables."""
