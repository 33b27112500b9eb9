"""dbt and the loader at work at the same time: they take turns, and nobody sees a mix of two loads."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from testing.waiting import until
from webhook.queue.database import Database
from webhook.queue.intake import accept
from webhook.queue.runs import RunRequest
from webhook.queue.store import RunStore
from webhook.settings import Settings

MARTS = ("fact_sales", "fact_sales_as_sold", "agg_sales_by_state", "agg_sales_daily", "dim_customers")
# A new customer with a new order of 1.00: in a mix of two loads one of the three rows lacks its partner.
SALE = """
WITH c AS (INSERT INTO customers (first_name, last_name, email, state, city)
               VALUES ('Eve', 'Fox', gen_random_uuid() || '@example.com', 'OH', 'Dayton') RETURNING customer_id),
     o AS (INSERT INTO orders (customer_id, status, total_amount) SELECT customer_id, 'paid', 1 FROM c RETURNING order_id)
INSERT INTO order_items (order_id, product_id, quantity, unit_price, subtotal)
    SELECT order_id, (SELECT min(product_id) FROM products), 1, 1, 1 FROM o
"""


def postgres_rows(shop: Any, sql: str) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(shop.dsn())
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


class Stack:
    """The loader, and the webhook's worker with its queue, around one source and one warehouse."""

    def __init__(self, shop: Any, clickhouse: Any, repo: Path, venvs: Path, home: Path) -> None:
        self._shop, self._clickhouse, self._repo = shop, clickhouse, repo
        base = {"PATH": os.environ["PATH"], "HOME": str(home)}
        self._elt = base | clickhouse.env("loader")
        self._elt |= {"SOURCE_URL": shop.dsn(), "ELT_PLAN": str(home / "plan.json"), "MASK_SALT": "salt"}
        self._elt["PYTHONPATH"] = f"{repo}/airflow/plugins:{repo}/scripts"
        names = clickhouse.env("dbt", "webhook") | {
            "WEBHOOK_HOME": str(home / "webhook"),
            "DBT_PROJECT_DIR": str(repo / "dbt"),
        }
        settings = Settings.from_environ(names)
        self._database = Database(settings.database)
        self.store = RunStore(self._database)
        self.worker = subprocess.Popen(
            [venvs / "dbt/bin/python", "-m", "webhook.worker"],
            env=base | names | {"PYTHONPATH": str(repo / "scripts")},
            stderr=subprocess.DEVNULL,
        )

    def load(self) -> None:
        command = [sys.executable, "-m", "elt", "load"]
        result = subprocess.run(command, env=self._elt, cwd=self._repo, capture_output=True, text=True, timeout=120)
        assert result.returncode == 0, result.stderr

    def build(self) -> Any:
        """The run's record, when it has ended."""
        run_id = accept(self._database, RunRequest(), key=None, requested_by="test", queue_limit=10)

        def ended() -> Any:
            run = self.store.get(run_id)
            return run if run is not None and run.status not in ("queued", "running") else None

        return until(ended, f"run {run_id} has ended", 180)

    def revenue(self, mart: str) -> Decimal:
        with self._clickhouse.client("superset") as reader:
            return Decimal(reader.query(f"SELECT sum(gross_revenue) FROM analytics.{mart}").result_rows[0][0])


@pytest.fixture
def stack(
    sample_shop: Any, clickhouse: Any, refill_raw: None, repo: Path, venvs: Path, tmp_path: Path
) -> Iterator[Stack]:
    made = Stack(sample_shop, clickhouse, repo, venvs, tmp_path)
    yield made
    made.worker.terminate()
    made.worker.wait(30)


def test_loads_beside_builds_show_nobody_a_mix(stack: Stack, sample_shop: Any) -> None:
    work_beside_each_other(stack, sample_shop, builds=1)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_loads_beside_20_builds_show_nobody_a_mix(stack: Stack, sample_shop: Any) -> None:
    work_beside_each_other(stack, sample_shop, builds=20)


def work_beside_each_other(stack: Stack, shop: Any, *, builds: int) -> None:
    stack.load()
    first = stack.build()
    assert first.status == "success", first.error
    began_with = stack.revenue("fact_sales")
    seen: dict[str, list[Decimal]] = {mart: [] for mart in MARTS}
    wrong: list[str] = []
    loads = 0
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            for mart in MARTS:
                found = stack.revenue(mart)
                if not seen[mart] or seen[mart][-1] != found:
                    seen[mart].append(found)

    def load() -> None:
        nonlocal loads
        while not ended.is_set():
            postgres_rows(shop, SALE)
            stack.load()
            loads += 1

    def noted(work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - whatever goes wrong beside the builds
            wrong.append(f"{work.__name__}: {error}")

    beside = [threading.Thread(target=noted, args=(work,)) for work in (read, load)]
    for thread in beside:
        thread.start()
    try:
        for _ in range(builds):
            run = stack.build()
            assert run.status == "success", run.error
    finally:
        ended.set()
        for thread in beside:
            thread.join()
    assert not wrong
    assert loads >= builds
    for mart, sums in seen.items():
        # Whole loads only, each with one sale more than the one before, and never an older one again.
        assert sums == sorted(sums) and all((found - began_with) % 1 == 0 for found in sums), (mart, sums)
    last = stack.build()
    assert last.status == "success", last.error
    [(in_postgres,)] = postgres_rows(shop, "SELECT sum(subtotal) FROM order_items")
    assert {mart: stack.revenue(mart) for mart in MARTS} == dict.fromkeys(MARTS, in_postgres)
