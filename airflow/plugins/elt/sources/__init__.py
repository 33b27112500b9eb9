"""Sources: one folder for each kind."""
