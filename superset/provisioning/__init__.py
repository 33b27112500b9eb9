"""Brings Superset's metadata database to the state of lock, config and assets."""
