"""Runs dbt: its command line, the warm process that forks it, the events that it prints."""
