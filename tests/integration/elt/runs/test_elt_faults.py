"""Neighbours that go away in the middle: the network, the session with the lock, the scheduler."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from elt.publishing import publish as publishing
from elt.publishing import recovery
from elt.runs.run import begin, load_table, publish
from faults.proxy import Proxy
from testing.waiting import until
from warehouse import leases, ops, records
from warehouse.client import Warehouse
from warehouse.errors import TransientError


@pytest.fixture
def big(shop: Any) -> Any:
    shop.sql(
        "CREATE TABLE big (id int PRIMARY KEY, t text)",
        "INSERT INTO big SELECT i, md5(i::text) FROM generate_series(1, 100000) i",
    )
    shop.tables("public.big")
    shop.load()
    shop.sql("INSERT INTO big SELECT i, md5(i::text) FROM generate_series(100001, 300000) i")
    return shop


@pytest.fixture
def wire(big: Any) -> Iterator[Proxy]:
    wire = Proxy(("127.0.0.1", big.settings.clickhouse_http_port))
    yield wire
    wire.close()


def count(shop: Any) -> int:
    return int(shop.warehouse("SELECT count() FROM raw.big")[0][0])


def test_a_wire_that_is_cut_within_the_rows_publishes_nothing(big: Any, wire: Proxy) -> None:
    cut = threading.Event()
    wire.cut_after(4_000_000, cut.set)
    code, _, err = big.run_python("load", CLICKHOUSE_HTTP_PORT=str(wire.port))
    assert cut.is_set() and code == 1 and err.count("\n") == 1
    assert "does not answer" in err
    assert count(big) == 100000
    big.load()
    assert count(big) == 300000
    left = "SELECT count() FROM system.tables WHERE database = 'raw' AND name LIKE '%__loading_%'"
    assert big.warehouse(left) == [(0,)]


def dbt_run(shop: Any, status: str) -> None:
    shop.admin_client.command(
        "INSERT INTO ops.dbt_runs (id, status, queued_at, heartbeat_at, version) VALUES "
        f"('elt-fault', '{status}', now64(6), now64(6), {records.microseconds()})"
    )


def test_a_publisher_that_lost_its_lease_while_it_waited_does_not_swap(
    big: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "_HEARTBEAT_SECONDS", 0.5)
    run = begin(big.settings, run_key="dag/lost lease", tables=None, full_refresh=False)
    load_table(big.settings, run=run, target="big", attempt=1)
    failures: list[TransientError] = []

    def waiting() -> None:
        try:
            publish(big.settings, run=run, wait_seconds=30)
        except TransientError as error:
            failures.append(error)

    try:
        dbt_run(big, "running")
        publisher = threading.Thread(target=waiting)
        publisher.start()
        # Two rows of the same swap: the journal, and a first heartbeat while it waits.
        journal = f"SELECT count() FROM ops.publishes WHERE run = {run}"
        until(lambda: big.warehouse(journal)[0][0] >= 2, "the first heartbeat of the publisher that waits")
        ((lease,),) = big.warehouse(
            "SELECT name FROM system.tables WHERE database = 'ops' AND name LIKE 'lease_publishing%'"
        )
        number = int(lease.removeprefix("lease_publishing_"))
        big.admin_client.command(f"CREATE TABLE ops.lease_publishing_{number + 1} AS ops.{lease}")
        publisher.join(20)
        assert len(failures) == 1 and "The lease publishing was taken over" in str(failures[0])
        assert count(big) == 100000
    finally:
        dbt_run(big, "success")
    monkeypatch.setattr(leases, "TIME_TO_LIVE", 0.2)
    publish(big.settings, run=run)
    assert count(big) == 300000


def test_a_scheduled_run_that_is_silent_for_long_is_closed_and_one_that_is_not_is_left(
    big: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(big.settings, run_key="dag/silent", tables=None, full_refresh=False)
    load_table(big.settings, run=run, target="big", attempt=1)
    with Warehouse(big.settings.warehouse) as warehouse:
        big.load()
        assert ops.find_run(warehouse, run).status == "running"
        assert ops.last_sign(warehouse, run) > datetime.now(UTC) - timedelta(minutes=5)
        monkeypatch.setattr(recovery, "SILENT_AFTER", timedelta(0))
        big.load()
        assert ops.find_run(warehouse, run).status == "failed"
    left = "SELECT count() FROM system.tables WHERE database = 'raw' AND name LIKE '%__loading_%'"
    assert big.warehouse(left) == [(0,)]
