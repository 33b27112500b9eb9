"""What the project adds to Superset: settings from the environment, the warehouse's address, cures for known faults."""
