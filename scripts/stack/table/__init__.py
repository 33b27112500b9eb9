"""The one table of services: commands, health checks, the names that each may see."""
