"""The values of a Postgres table as numbers and checksums, to be compared with their copy."""
