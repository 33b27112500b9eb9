"""A load holds a constant amount of memory, whatever the size of the table."""

import subprocess
import sys
from typing import Any

MEASURE = """
import resource, sys, threading
import elt.cli.main
from elt.settings import Settings
from elt.runs.whole_run import Listener, load_everything
def peak():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) * 1024
before = peak()
(result,) = load_everything(Settings(), Listener(lambda _: None, lambda _: None)).loads
print(result.rows, result.bytes, before, peak())
"""


def test_a_load_takes_less_than_30_mb_above_the_imports(shop: Any) -> None:
    shop.sql(
        # Rows of many lengths: chunks of many sizes once left holes in the heap as large as the table.
        "CREATE TABLE wide AS SELECT i AS id, repeat(md5(i::text), 1 + i * 7 % 17) AS t, now() AS at FROM generate_series(1, 400000) i"
    )
    shop.tables("public.wide")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE],
        env=shop.environment,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=shop.repo,
    )
    assert done.returncode == 0, done.stderr
    rows, size, before, after = map(int, done.stdout.split())
    assert rows == 400000 and size > 100_000_000
    assert after - before < 30_000_000, f"{(after - before) / 1e6:.1f} MB above the imports"
