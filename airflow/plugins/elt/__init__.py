"""Copies tables of an OLTP Postgres into ClickHouse: exact, at one instant, all or nothing.

Importable without Airflow; `python -m elt` runs manually the steps that the DAG runs by schedule.
"""
