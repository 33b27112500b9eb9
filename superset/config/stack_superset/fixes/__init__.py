"""Replaced functions of Superset: each mends a wrong answer, names the upstream report that it waits for, and has a test that says when it can go."""
