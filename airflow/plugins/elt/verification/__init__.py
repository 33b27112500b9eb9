"""Whether a table of raw is as the source has it, by checksums that both databases compute."""
