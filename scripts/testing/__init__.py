"""Real servers, on free ports and below a folder of their own, for tests and benchmarks."""
