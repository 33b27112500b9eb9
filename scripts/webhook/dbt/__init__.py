"""Running dbt: its command line, the warm process that forks it, what it prints."""
