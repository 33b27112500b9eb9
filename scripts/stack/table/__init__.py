"""The table of services: commands, health checks, and the environment of each."""
