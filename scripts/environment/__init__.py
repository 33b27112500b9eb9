"""The environment of a program: its settings, read once, and the secrets that its logs mask."""
