"""The record of runs in SQLite: what was asked, what waits, what became of it."""
