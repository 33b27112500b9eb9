"""The native way: Postgres, the environments, one supervisor, and the order of the start."""
