"""chDB: the engine, sessions, and queries that run in it, streaming both ways."""
