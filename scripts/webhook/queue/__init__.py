"""The queue and record of runs, in SQLite."""
