"""Start, watch and trust a dbt run over HTTP.

Two processes share one SQLite file. The web process (`app`, `routes`, `auth`, `problems`) accepts requests and answers
questions; it never talks to dbt. The worker (`worker`, `execution`, `dbt_process`) runs dbt, one run at a time, each in an
operating-system process of its own, and copies what happened to ClickHouse's `ops` (`reporter`, `warehouse`). The file
(`database`, `store`, `intake`) is the record of truth: whatever is killed, it says what was asked and what became of it.
"""

from pathlib import Path

VERSION = (Path(__file__).resolve().parents[2] / "VERSION").read_text().strip()
