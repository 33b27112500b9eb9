"""Faults: runs of the loader and of dbt go on while parts are killed, stopped and cut off; afterwards everything must add up."""
