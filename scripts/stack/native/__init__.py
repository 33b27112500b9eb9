"""Native mode: Postgres, virtual environments, one supervisor, and the order of the start."""
