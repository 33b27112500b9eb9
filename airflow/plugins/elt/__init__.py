"""Copies tables of an OLTP Postgres into ClickHouse: exact, at one instant, all or nothing.

Importable without Airflow; `python -m elt` does by hand what the DAG does by schedule.
"""
