"""Memory of a fetch and of a load does not grow with the number of pages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from testing.demo_api.data import products

_MEGABYTE = 1024
"""In kilobytes."""
PROGRAM = """
import sys
from datetime import date
from elt.runs.fetch import fetch
from elt.runs.whole_run import Listener, load_everything
from elt.settings import read_settings
day = date(2026, 1, 1)
if sys.argv[1] == "fetch":
    fetch(read_settings(), source="store", day=day)
else:
    load_everything(read_settings(), Listener(lambda _: None, lambda _: None), source="store", day=day, from_lake=True)
# Unlike ru_maxrss, not that of the process that forked this one.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def peak(store: Any, half: str) -> int:
    """Peak of resident memory, in kilobytes."""
    command = [sys.executable, "-c", PROGRAM, half]
    environment = {**store.shop.environment, "PATH": os.environ["PATH"]}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=store.folder.parent)
    return int(done.stdout)


def test_a_thousand_pages_take_no_more_memory_than_ten(store: Any) -> None:
    store.pipeline("\n  - {name: pages, path: /by_page, params: {size: 20}, paging: {page: {size: 20}}}\n")
    peaks: dict[int, tuple[int, int]] = {}
    for pages in (10, 1000):
        # About 20 kB a page.
        store.api.products = [
            item.replace('"category"', f'"padding":"{os.urandom(350).hex()}","category"')
            for item in products(pages * 20)
        ]
        peaks[pages] = peak(store, "fetch"), peak(store, "load")
        assert store.days("store__pages") == {"2026-01-01": pages * 20}
        assert store.rows("store__pages", "data")[-1] == (store.api.products[-1],)
    grown = [after - before for before, after in zip(peaks[10], peaks[1000], strict=True)]
    assert max(grown) < 20 * _MEGABYTE, json.dumps(peaks)
