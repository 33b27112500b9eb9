"""Starts and reports dbt runs over HTTP.

Two processes share one SQLite file. The web process (`web/`) accepts requests and reports on runs; it never talks to dbt. The worker
(`worker/`) runs dbt (`dbt/`), one run at a time, each in its own operating-system process; it publishes the marts (`publishing/`) and
copies the record to ClickHouse's `ops`. The file (`queue/`) is the source of truth: it survives a kill of either process.
"""

from pathlib import Path

VERSION = (Path(__file__).resolve().parents[2] / "VERSION").read_text().strip()
