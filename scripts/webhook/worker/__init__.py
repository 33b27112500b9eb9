"""The worker: takes what waits, one run at a time, and tells what became of it."""
