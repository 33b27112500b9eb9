"""`elt-agent`, the always-on service: duties that nobody else is awake for. Closes runs of the loader that Airflow has ended.

It asks and is never asked: it reads Airflow and the warehouse, writes what the loader writes, and nobody calls it.
"""
