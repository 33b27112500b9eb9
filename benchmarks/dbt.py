"""Building all marts of a large shop: time of ClickHouse and on the wall, memory, and growth.

The floor is one statement that joins the four raw tables and writes the lines. Parity first: revenue by state and by month in the marts is Postgres' own, to the cent. A build is what the webhook's
worker does, publish included, with dbt started anew each time; with --warm, in forks of its warm dbt, as the worker does.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

from report import Figure, of_runs, show, whole_size_bar
from servers import VENVS, folder, source, warehouse
from testing.servers import REPO, PostgresServer, WarehouseProcess
from webhook.dbt.command import dbt_arguments
from webhook.dbt.process import DbtHost
from webhook.publishing import Publisher
from webhook.queue.runs import RunRequest
from webhook.settings import Settings
from webhook.worker.execution import Outcome

RAW = ("customers", "products", "orders", "order_items")
# A line of dbt's, with the node that it is for.
_OF_DBT = 'startsWith(query, \'/* {"app": "dbt"\')'
_NODE = 'extract(query, \'"node_id": "([^"]+)"\')'
_FLOOR = """CREATE TABLE analytics_dev.floor ENGINE = MergeTree ORDER BY (order_date, order_item_id) AS
    SELECT i.order_item_id, o.order_date, o.status, c.state, c.city, p.product_name, p.category, i.quantity, i.unit_price, i.subtotal
    FROM raw.order_items i FINAL JOIN raw.orders o FINAL USING (order_id) JOIN raw.customers c USING (customer_id)
    JOIN raw.products p USING (product_id)"""


@dataclass(frozen=True)
class Build:
    """One build; `floor` is the seconds of one plain join just before it."""

    floor: float
    wall: float
    clickhouse: float
    peak: int
    slowest: list[tuple[str, float]]


class Builder:
    """Builds and publishes prod of one warehouse, again and again."""

    def __init__(self, server: WarehouseProcess, home: Path, *, warm: bool) -> None:
        self._server = server
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(home), **server.server.env()}
        names = {"WEBHOOK_HOME": str(home), "DBT_PROJECT_DIR": str(REPO / "dbt"), **server.server.env()}
        self._settings = Settings.from_environ(names)
        self._publisher = Publisher(self._settings)
        self._home = home
        self._warm: DbtHost | None = None
        if warm:
            place = self._settings.project, self._settings.dbt_target
            self._warm = DbtHost(*place, self._environment, python=str(VENVS / "dbt/bin/python"))

    def close(self) -> None:
        if self._warm is not None:
            self._warm.close()

    def build(self) -> Build:
        floor = self.floor()
        self._server.forget_peak()
        since = self._server.server.rows("SELECT now64(6)::String")[0][0]
        began = time.monotonic()
        run: Any = SimpleNamespace(id="benchmark", request=RunRequest())
        outcome = self._publisher.run(run, 1, self._dbt if self._warm is None else self._warm_dbt)
        wall = time.monotonic() - began
        if outcome.status != "success":
            raise SystemExit(f"The build failed: {outcome.error}")
        peak = self._server.peak_bytes()
        self._server.server.command("SYSTEM FLUSH LOGS")
        nodes = self._server.server.rows(
            f"SELECT {_NODE} AS node, sum(query_duration_ms) / 1000 AS seconds FROM system.query_log"
            f" WHERE type = 'QueryFinish' AND event_time_microseconds >= '{since}' AND {_OF_DBT}"
            " GROUP BY node ORDER BY seconds DESC"
        )
        return Build(floor, wall, sum(seconds for _, seconds in nodes), peak, nodes[:10])

    def floor(self) -> float:
        """Seconds of ClickHouse for one plain join of the four raw tables, written to a table of its own."""
        since = self._server.server.rows("SELECT now64(6)::String")[0][0]
        self._server.server.command(_FLOOR)
        self._server.server.command("DROP TABLE analytics_dev.floor SYNC")
        self._server.server.command("SYSTEM FLUSH LOGS")
        asked = "type = 'QueryFinish' AND query LIKE '%analytics_dev.floor ENGINE%' AND query NOT LIKE '%query_log%'"
        return float(
            self._server.server.rows(
                "SELECT sum(query_duration_ms) / 1000 FROM system.query_log"
                f" WHERE event_time_microseconds >= '{since}' AND {asked}"
            )[0][0]
        )

    def _dbt(self) -> Outcome:
        places = ["--project-dir", REPO / "dbt", "--profiles-dir", REPO / "dbt"]
        places += ["--target-path", self._home / "target", "--log-path", self._home / "logs"]
        command = [VENVS / "dbt/bin/dbt", "build", "--target", "prod", "--exclude-resource-type", "unit_test", *places]
        result = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        return Outcome("success") if result.returncode == 0 else Outcome("error", result.stdout[-3000:])

    def _warm_dbt(self) -> Outcome:
        assert self._warm is not None
        with self._warm.start(dbt_arguments(RunRequest(), self._settings)) as dbt:
            said = [line for line in dbt.lines(pause=1.0) if line is not None]
            return Outcome("success") if dbt.exit_code() == 0 else Outcome("error", "\n".join(said)[-3000:])


def generate(shop: PostgresServer, orders: int) -> None:
    command = [REPO / "scripts/generate_data", "--orders", str(orders)]
    subprocess.run(command, env={**os.environ, **shop.environment()}, check=True, stdout=subprocess.DEVNULL)


def load(shop: PostgresServer, server: WarehouseProcess, at: Path) -> None:
    names = {"SOURCE_URL": shop.dsn(), "ELT_PLAN": str(at / "plan.json"), "MASK_SALT": "salt", **server.server.env()}
    command = [sys.executable, "-m", "elt", "load"]
    result = subprocess.run(
        command, env={**os.environ, **names}, cwd=REPO, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
    )
    if result.returncode:
        raise SystemExit(f"The load failed: {result.stderr.decode()[-2000:]}")


def differences(shop: PostgresServer, server: WarehouseProcess) -> int:
    """States and months whose revenue in the marts is not Postgres' own."""
    wanted, net = "sum(i.subtotal)", "sum(i.subtotal) FILTER (WHERE o.status NOT IN ('cancelled', 'returned'))"
    joined = "order_items i JOIN orders o USING (order_id) JOIN customers c USING (customer_id)"
    month = "to_char(o.order_date AT TIME ZONE 'UTC', 'YYYY-MM')"
    pairs = (
        (
            f"SELECT c.state, {wanted}::text, coalesce({net}, 0)::text FROM {joined} GROUP BY 1",
            "SELECT customer_state, toDecimalString(gross_revenue, 2), toDecimalString(net_revenue, 2)"
            " FROM analytics.agg_sales_by_state",
        ),
        (
            f"SELECT {month}, {wanted}::text, coalesce({net}, 0)::text FROM {joined} GROUP BY 1",
            "SELECT formatDateTime(order_day, '%Y-%m') AS month, toDecimalString(sum(gross_revenue), 2),"
            " toDecimalString(sum(net_revenue), 2) FROM analytics.agg_sales_daily GROUP BY month"
            " HAVING sum(gross_orders) > 0",
        ),
    )

    def exact(rows: list[tuple[Any, ...]]) -> set[tuple[Any, ...]]:
        return {(name, *(Decimal(amount) for amount in amounts)) for name, *amounts in rows}

    return sum(len(exact(shop.rows(ours)) ^ exact(server.server.rows(theirs, "superset"))) for ours, theirs in pairs)


def measure(orders: int, runs: int, *, warm: bool) -> tuple[list[Build], int, int]:
    """Builds of a shop with so many orders, the first dropped; items; differences from Postgres."""
    with folder() as at, source(at) as shop, warehouse(at) as server:
        if orders:
            generate(shop, orders)
        load(shop, server, at)
        builder = Builder(server, at / "home", warm=warm)
        with closing(builder):
            built = [builder.build() for _ in range(runs + 1)][1:]
        return built, server.server.rows("SELECT count() FROM raw.order_items")[0][0], differences(shop, server)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20,000 orders and two runs: shows that it works")
    parser.add_argument("--orders", type=int, help="orders of the large shop (default 1,000,000)")
    parser.add_argument("--runs", type=int)
    parser.add_argument(
        "--warm", action="store_true", help="build in forks of a warm dbt, as the webhook's worker does"
    )
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    orders = given.orders or (20_000 if given.quick else 1_000_000)
    runs = given.runs or (2 if given.quick else 5)
    shops = {
        name: measure(count, runs, warm=given.warm)
        for name, count in (("empty", 0), ("tenth", orders // 10), ("full", orders))
    }
    full, items, wrong = shops["full"]
    tenth, empty = shops["tenth"][0], shops["empty"][0]

    def clickhouse(builds: list[Build]) -> float:
        return median(build.clickhouse for build in builds)

    figures = [
        Figure("order items", items, "rows"),
        Figure("states and months that differ from Postgres", wrong + shops["tenth"][2], "rows", "<= 0"),
        of_runs("ClickHouse time of all nodes", [build.clickhouse for build in full], "s"),
        of_runs(
            "  against one plain join of the raw tables",
            [b.clickhouse / b.floor for b in full],
            "times",
            whole_size_bar("<= 8", quick=given.quick),
        ),
        of_runs("ClickHouse time, a tenth of the orders", [build.clickhouse for build in tenth], "s"),
        of_runs("ClickHouse time, an empty shop", [build.clickhouse for build in empty], "s"),
        Figure("ClickHouse time, ten times the orders", clickhouse(full) / clickhouse(tenth), "times", "<= 10"),
        of_runs("wall time of build and publish", [build.wall for build in full], "s"),
        of_runs("wall time of an empty shop", [build.wall for build in empty], "s"),
        Figure(
            "  the large shop against the empty one",
            median(b.wall for b in full) / median(b.wall for b in empty),
            "times",
            whole_size_bar("<= 2.5", quick=given.quick),
        ),
        of_runs("memory of ClickHouse, highest", [build.peak / 1e9 for build in full], "GB", "<= 2"),
    ]
    raw = {name: {"builds": [asdict(build) for build in built]} for name, (built, _, _) in shops.items()}
    if not given.json:
        print(json.dumps(full[-1].slowest, indent=1), file=sys.stderr)
    return show("dbt", figures, as_json=given.json, raw=raw)


if __name__ == "__main__":
    raise SystemExit(main())
