"""Brings Superset's metadata database to the state that lock, config and assets describe."""
