"""A loader that is killed at any point leaves days whole: as they were, or as they are to be; the next run makes them so."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from testing.waiting import until

ENDPOINTS = """
  - {name: pages, path: /by_page, params: {size: 2}, paging: page, key: [id]}
  - {name: carts, path: /carts, key: [id]}
"""
DAY = "2026-01-02"


@pytest.fixture
def loaded(store: Any) -> Any:
    """Three days, of which the second is to be loaded again with other items."""
    store.pipeline(ENDPOINTS)
    for day in (1, 2, 3):
        store.load(day=date(2026, 1, day))
    store.api.products = [item.replace("Product", "Changed") for item in store.api.products[:15]]
    store.api.carts = store.api.carts[:2]
    store.api.seen.clear()
    return store


def check(store: Any, *, is_new: bool) -> None:
    """Both tables of the day are old, or both are new; other days are as they were."""
    assert store.days("store__pages") == {"2026-01-01": 20, DAY: 15 if is_new else 20, "2026-01-03": 20}
    assert store.days("store__carts") == {"2026-01-01": 7, DAY: 2 if is_new else 7, "2026-01-03": 7}
    changed = store.shop.warehouse(
        "SELECT toString(dt), count() FROM raw.store__pages WHERE data LIKE '%Changed%' GROUP BY dt"
    )
    assert changed == ([(DAY, 15)] if is_new else [])


def rerun(store: Any) -> None:
    store.load(day=date(2026, 1, 2))
    check(store, is_new=True)
    assert store.shop.warehouse(
        "SELECT count() FROM system.tables WHERE database = 'raw' AND name LIKE '%__loading_%'"
    ) == [(0,)]
    code, out, err = store.shop.command("verify", "--published", "store")
    assert code == 0, out + err


def killed_when(store: Any, condition: Callable[[], object], what: str) -> None:
    with store.shop.python("load", "store", "--dt", DAY) as process:
        until(lambda: condition() or process.poll() is not None, what, every=0.002)
        process.send_signal(signal.SIGKILL)
        process.wait(10)


@pytest.mark.parametrize("request_number", [1, 5, 9, 10])
def test_killed_while_it_fetches(loaded: Any, request_number: int) -> None:
    """The process ends before it has the answer: nothing of the fetch counts."""
    processes: list[subprocess.Popen[str]] = []
    started = threading.Event()

    def kill(number: int) -> None:
        if number == request_number:
            assert started.wait(30)
            processes[0].kill()
            processes[0].wait(30)

    loaded.api.before = kill
    with loaded.shop.python("load", "store", "--dt", DAY) as process:
        processes.append(process)
        started.set()
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    loaded.api.before = lambda number: None
    check(loaded, is_new=False)
    # An endpoint whose pages were all there has the new day in the lake; the manifest of any other still names the old one.
    loaded.load(day=date(2026, 1, 2), from_lake=True)
    assert loaded.days("store__pages")[DAY] == (15 if request_number == 10 else 20)
    assert loaded.days("store__carts")[DAY] == 7
    rerun(loaded)


POINTS = {
    "a manifest": lambda store: len([one for one in store.lake.objects() if one.path.endswith("_manifest.json")]) > 12,
    "an instant": lambda store: len(store.lake.names("raw/store/_instants")) > 3,
    "a loading table": lambda store: store.shop.warehouse(
        "SELECT name FROM system.tables WHERE database = 'raw' AND name LIKE '%__loading_%'"
    ),
    "a loaded table": lambda store: store.shop.warehouse("SELECT 1 FROM ops.loads FINAL WHERE status = 'loaded'"),
    "an open journal": lambda store: store.shop.warehouse("SELECT 1 FROM ops.publishes FINAL WHERE status = 'open'"),
}


@pytest.mark.parametrize("point", POINTS)
def test_killed_while_it_loads_and_publishes(loaded: Any, point: str) -> None:
    killed_when(loaded, lambda: POINTS[point](loaded), point)
    code, out, err = loaded.shop.command("recover")
    assert code == 0, out + err
    check(loaded, is_new=loaded.days("store__carts")[DAY] == 2)
    rerun(loaded)


@pytest.mark.long
def test_killed_at_twenty_points_of_a_run(loaded: Any) -> None:
    started = time.monotonic()
    code, out, err = loaded.shop.run_python("load", "store", "--from-lake", "--dt", DAY)
    assert code == 0, out + err
    seconds = 1.2 * (time.monotonic() - started)
    for point in range(20):
        with loaded.shop.python("load", "store", "--dt", DAY) as process:
            try:
                process.wait(seconds * (point + 1) / 20)
            except subprocess.TimeoutExpired:
                process.kill()
            process.wait(30)
        loaded.shop.command("recover")
        check(loaded, is_new=loaded.days("store__carts")[DAY] == 2)
    rerun(loaded)


def test_two_runs_of_one_day_at_once(loaded: Any) -> None:
    with (
        loaded.shop.python("load", "store", "--dt", DAY) as one,
        loaded.shop.python("load", "store", "--dt", DAY) as other,
    ):
        results = [process.communicate(timeout=90) for process in (one, other)]
    codes = sorted(process.returncode for process in (one, other))
    assert codes[0] == 0, results
    if codes[1]:
        assert any("Another run is at work: cli/" in err for _, err in results), results
    check(loaded, is_new=True)
    rerun(loaded)


def test_two_fetches_of_one_day_at_once_leave_one_of_them(loaded: Any) -> None:
    with (
        loaded.shop.python("fetch", "store", "--dt", DAY) as one,
        loaded.shop.python("fetch", "store", "--dt", DAY) as other,
    ):
        results = [process.communicate(timeout=90) for process in (one, other)]
    assert [one.returncode, other.returncode] == [0, 0], results
    loaded.load(day=date(2026, 1, 2), from_lake=True)
    check(loaded, is_new=True)
