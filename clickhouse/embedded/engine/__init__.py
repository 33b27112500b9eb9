"""chDB: the engine, sessions, and queries, streaming both ways."""
