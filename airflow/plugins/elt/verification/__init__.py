"""Verifies tables of raw against the source, by checksums that both databases compute."""
