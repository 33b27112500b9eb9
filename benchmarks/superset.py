"""Superset of the running stack: the chart API, the dashboards in a browser, and its start when nothing changed.

Start the stack first (`./run.sh`), with as many orders as the figures are to speak of (`scripts/generate_data --orders 1000000`, then a run
of the DAG). It is the stack of $STACK_HOME, or of this folder.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import Any

import psutil
import requests
from report import Figure, of_runs, show

REPO = Path(__file__).resolve().parents[1]
sys.path.append(str(REPO / "tests" / "e2e"))

from browser import Visitor, profiled  # noqa: E402
from superset_api import DASHBOARDS, Superset, running  # noqa: E402


def api(admin: Superset, rounds: int) -> tuple[list[Figure], dict[str, list[float]]]:
    """Every chart as it was saved, past every cache. The first round is dropped."""
    times: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        for slug in DASHBOARDS:
            for title, row in admin.charts(slug).items():
                started = time.perf_counter()
                answer = admin.get(f"/api/v1/chart/{row['id']}/data/?force=true")
                milliseconds = (time.perf_counter() - started) * 1000
                assert answer.status_code == 200, f"{title}: {answer.text}"
                if number:
                    times.setdefault(title, []).append(milliseconds)
    every = sorted(value for values in times.values() for value in values)
    figures = [
        Figure("chart API, uncached, 95th percentile", quantiles(every, n=20)[18], "ms", "<= 300"),
        of_runs("chart API, uncached, median", every, "ms"),
    ]
    return figures, times


def until_drawn(opening: Callable[[], float]) -> float:
    """The seconds that an opening took, without those for which it then saw nothing load."""
    started = time.perf_counter()
    quiet = opening()
    return time.perf_counter() - started - quiet


FROM_LIST = "cached, from the list"
BARS = {"cold": "<= 3", "cached": "<= 1.5", FROM_LIST: "<= 1.5"}


def pages(
    admin: Superset, url: str, password: str, cache: Path, rounds: int
) -> tuple[list[Figure], dict[str, list[float]]]:
    """Each dashboard until its last chart is drawn, by an admin who has just logged in: with Superset's caches empty, in a browser that
    never opened a dashboard; again at once by its address; and by a click in the list of dashboards."""
    titles = {row["slug"]: row["dashboard_title"] for row in admin.listed("dashboard")}
    times: dict[str, list[float]] = {f"{slug}, {state}": [] for slug in DASHBOARDS for state in BARS}
    for _ in range(rounds):
        for slug in DASHBOARDS:
            with profiled() as browser:
                visitor = Visitor(browser, url, "admin", password)
                for file in cache.rglob("*"):
                    if file.is_file():
                        file.unlink()
                for state in BARS:
                    if state == FROM_LIST:
                        visitor.list_dashboards()
                        seconds = until_drawn(partial(visitor.click, titles[slug]))
                    else:
                        seconds = until_drawn(partial(visitor.open, slug))
                    times[f"{slug}, {state}"].append(seconds)
                    shown = visitor.drawn() + len(visitor.empty())
                    assert shown == visitor.charts().count() > 0, f"{slug}: {shown} charts were drawn"
    figures = [
        of_runs(f"dashboard {slug}, {state}", times[f"{slug}, {state}"], "s", bar)
        for slug in DASHBOARDS
        for state, bar in BARS.items()
    ]
    return figures, times


ONE = "benchmark-of-one-chart"


@contextmanager
def dashboard_of_one_chart(admin: Superset) -> Iterator[None]:
    """A dashboard of one number of *Sales*, without filters and text, while the body runs."""
    if ONE in admin.dashboards:
        admin.delete(f"/api/v1/dashboard/{admin.dashboards[ONE]}")
    chart = admin.charts("sales")["Revenue"]["id"]
    parts: dict[str, dict[str, Any]] = {
        "ROOT_ID": {"type": "ROOT", "children": ["GRID_ID"]},
        "GRID_ID": {"type": "GRID", "children": ["ROW"]},
        "ROW": {"type": "ROW", "children": ["CHART"], "meta": {"background": "BACKGROUND_TRANSPARENT"}},
        "CHART": {"type": "CHART", "children": [], "meta": {"width": 4, "height": 30, "chartId": chart}},
    }
    layout = {"DASHBOARD_VERSION_KEY": "v2", **{name: {"id": name, **part} for name, part in parts.items()}}
    made = admin.post("/api/v1/dashboard/", {"dashboard_title": ONE, "slug": ONE})
    assert made.status_code == 201, made.text
    address = f"/api/v1/dashboard/{made.json()['id']}"
    try:
        placed = admin.put(address, {"json_metadata": json.dumps({"positions": layout})})
        assert placed.status_code == 200, placed.text
        yield
    finally:
        admin.delete(address)


def floor(admin: Superset, url: str, password: str, rounds: int) -> tuple[Figure, dict[str, list[float]]]:
    """What Superset's own page takes at the least. The first opening is dropped: it is not cached."""
    name = "a dashboard of one number, cached: the floor"
    times: list[float] = []
    with dashboard_of_one_chart(admin), profiled() as browser:
        visitor = Visitor(browser, url, "admin", password)
        for _ in range(rounds + 1):
            times.append(until_drawn(partial(visitor.open, ONE)))
            assert visitor.drawn() == visitor.charts().count() == 1, "the one number was not drawn"
    return of_runs(name, times[1:], "s"), {name: times[1:]}


def start(env: dict[str, str], rounds: int) -> Figure:
    """A second server beside the running one, on a port of its own. The look at the stamp before it takes a tenth of a second."""
    seconds = []
    port = str(int(env["SUPERSET_PORT"]) + 100)
    inside = [str(REPO / "scripts" / "exec"), "superset", "env", f"SUPERSET_PORT={port}"]
    serve = [
        *inside,
        "python",
        "-m",
        "gunicorn",
        "--config",
        str(REPO / "superset/config/gunicorn_conf.py"),
        "superset.app:create_app()",
    ]
    for _ in range(rounds):
        started = time.perf_counter()
        server = subprocess.Popen(serve, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while True:
                assert time.perf_counter() - started < 120 and server.poll() is None, "Superset did not start"
                try:
                    if requests.get(f"http://127.0.0.1:{port}/health", timeout=1).text == "OK":
                        break
                except requests.RequestException:
                    time.sleep(0.05)
            seconds.append(time.perf_counter() - started)
        finally:
            server.terminate()
            server.wait(30)
    return of_runs("start to healthy, nothing changed", seconds, "s", "<= 12")


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/run.sh superset", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one round of everything")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rounds = 1 if asked.quick else 5
    env = running()
    home = Path(os.environ.get("STACK_HOME", REPO / ".stack"))
    url = f"http://127.0.0.1:{env['SUPERSET_PORT']}"
    admin = Superset(url, "admin", env["SUPERSET_ADMIN_PASSWORD"])
    (row,) = admin.data(
        {
            "datasource": {
                "id": next(one["id"] for one in admin.listed("dataset") if one["table_name"] == "fact_sales"),
                "type": "table",
            },
            "queries": [{"metrics": ["sales_gross_orders"], "columns": [], "filters": []}],
            "result_format": "json",
            "result_type": "full",
        }
    )
    figures = [Figure("orders in the shop", float(row["sales_gross_orders"]), "")]
    of_api, api_times = api(admin, rounds)
    psutil.cpu_times_percent()  # The next call tells of the time since this one.
    of_pages, page_times = pages(admin, url, env["SUPERSET_ADMIN_PASSWORD"], home / "data/superset/cache", rounds)
    of_floor, floor_times = floor(admin, url, env["SUPERSET_ADMIN_PASSWORD"], rounds)
    stolen = psutil.cpu_times_percent().steal
    figures += [*of_api, *of_pages, of_floor, start(env, min(rounds, 3))]
    figures += [Figure("the processors' time that the host gave to others while pages opened", stolen, "%")]
    return show("superset", figures, as_json=asked.json, raw={"api_ms": api_times, "pages_s": page_times | floor_times})


if __name__ == "__main__":
    sys.exit(main())
