"""`python -m stack.warehouse_init` names what its environment lacks, in one sentence."""

import os
import subprocess
import sys
from pathlib import Path


def test_a_missing_and_a_malformed_variable_are_named_without_their_values(repo: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stack.warehouse_init"],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(repo / "scripts"),
            "CLICKHOUSE_HTTP_PORT": "hush",
            "CLICKHOUSE_SECURE": "false",
            "CLICKHOUSE_PASSWORD": "",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "CLICKHOUSE_HOST is not set; CLICKHOUSE_HTTP_PORT: input should be a valid integer" in done.stderr
    assert "CLICKHOUSE_PASSWORD is not set" in done.stderr
    assert "hush" not in done.stderr and "Traceback" not in done.stderr
