"""The warehouse: its client, the statements of a load, and the loader's events in ops."""
