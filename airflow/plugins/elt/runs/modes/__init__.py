"""Strategies of a load, by the `mode` of a table."""
