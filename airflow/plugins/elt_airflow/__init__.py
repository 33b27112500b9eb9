"""Connects the loader (package elt) and the dbt webhook to Airflow: tasks, operator, callbacks, retention.

This package neither loads nor transforms; the DAG files wire its parts. Every task process imports it, so the import is cheap: tasks import
the loader and its drivers themselves.
"""
