"""Which tables a run copies: from pipeline.yml and the source, and the plan file that caches both for the DAGs."""
