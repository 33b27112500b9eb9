"""Publishing: the journal of swaps, the exclusion of dbt, and recovery after interrupted runs."""
