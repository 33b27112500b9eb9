"""The worker: executes queued runs, one at a time, and reports their results."""
