"""Start, watch and trust a dbt run over HTTP.

Two processes share one SQLite file. The web process (`web/`) accepts requests and answers questions; it never talks to dbt. The worker
(`worker/`) runs dbt (`dbt/`), one run at a time, each in an operating-system process of its own, puts the marts in place (`publishing/`), and
copies what happened to ClickHouse's `ops`. The file (`queue/`) is the record of truth: whatever is killed, it says what was asked and what
became of it.
"""

from pathlib import Path

VERSION = (Path(__file__).resolve().parents[2] / "VERSION").read_text().strip()
