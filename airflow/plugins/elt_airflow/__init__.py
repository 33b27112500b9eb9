"""Ties the loader (package elt) and the dbt webhook to Airflow: tasks, operator, callbacks, retention.

Nothing here loads or transforms; the DAG files only wire what stands here. Importing it is cheap, since every task
process does: the loader and its drivers are imported inside the tasks that use them.
"""
