"""Additions to Superset: settings from the environment, the warehouse's address, cures for known faults."""
