"""Sources: one package for each kind."""
