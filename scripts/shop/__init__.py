"""Adds a believable shop of any size to the source database: `scripts/generate_data`."""
