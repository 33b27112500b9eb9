"""Imitations of two public APIs, FakeStore and the issues of GitHub, for tests and for trying the loader without a network."""
