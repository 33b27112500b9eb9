"""Runs that somebody knows to be dead are closed at once, with their leftovers; what they had begun to publish is finished."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from elt.publishing import publish as publishing
from elt.publishing import recovery
from elt.publishing.leases import run_lease
from elt.runs.run import begin, fail, load_table, publish
from warehouse import ops, records
from warehouse.client import Warehouse

SOURCE = "shop"
DEAD = "Airflow has ended it"


@pytest.fixture
def warehouse(two: Any) -> Iterator[Warehouse]:
    with Warehouse(two.settings.warehouse) as client:
        yield client


def loaded_run(two: Any, key: str) -> int:
    run = begin(two.settings, run_key=key, tables=None, full_refresh=False)
    with two.held(run):
        for target in ("a", "b"):
            load_table(two.settings, run=run, target=target, attempt=1)
    return run


def loading_tables(two: Any, run: int) -> int:
    return int(two.warehouse(f"SELECT count() FROM system.tables WHERE database = 'raw' AND name LIKE '%{run}%'")[0][0])


def recover(warehouse: Warehouse, **options: Any) -> recovery.Recovered:
    with run_lease(warehouse, SOURCE, holder="tests"):
        return recovery.recover(warehouse, SOURCE, holder="tests", wait_seconds=30, **options)


def test_a_run_that_is_known_to_be_dead_is_closed_with_its_tables_and_others_live_on(
    two: Any, warehouse: Warehouse
) -> None:
    dead, alive = loaded_run(two, "dag/dead"), loaded_run(two, "dag/alive")
    assert recover(warehouse).nothing, "silent for less than an hour"
    recovered = recover(warehouse, dead={dead: DEAD})
    assert recovered.closed_runs == (dead,) and len(recovered.dropped) == 2
    closed = ops.find_run(warehouse, dead)
    assert (closed.status, closed.error) == ("failed", DEAD) and closed.ended_at is not None
    assert ops.find_run(warehouse, alive).status == "running"
    assert (loading_tables(two, dead), loading_tables(two, alive)) == (0, 2)
    publish(two.settings, run=alive)


def test_a_dead_run_that_had_begun_to_publish_is_published(two: Any, warehouse: Warehouse) -> None:
    run = loaded_run(two, "dag/cut")
    publishing.open_journal(warehouse, ops.find_run(warehouse, run))
    assert not recovery.close_unpublished(warehouse, run, DEAD)
    recovered = recover(warehouse, dead={run: DEAD})
    assert recovered.published == ("a", "b")
    assert (ops.find_run(warehouse, run).status, ops.find_run(warehouse, run).error) == ("success", "")
    assert two.warehouse("SELECT count() FROM raw.a")[0][0] == 2


def test_a_dead_run_that_had_published_and_was_cut_before_its_end_is_a_success(two: Any, warehouse: Warehouse) -> None:
    run = loaded_run(two, "dag/late")
    publish(two.settings, run=run)
    records.append(warehouse, [replace(ops.find_run(warehouse, run), status="running", ended_at=None)])
    assert ops.find_run(warehouse, run).status == "running"
    assert not recovery.close_unpublished(warehouse, run, DEAD)
    recover(warehouse, dead={run: DEAD})
    assert ops.find_run(warehouse, run).status == "success"


def test_a_dead_run_is_closed_beside_another_which_drops_its_tables(two: Any, warehouse: Warehouse) -> None:
    dead, other = loaded_run(two, "dag/dead"), begin(two.settings, run_key="dag/other", tables=None, full_refresh=False)
    with two.held(other):
        assert recovery.close_unpublished(warehouse, dead, DEAD)
        assert not recovery.close_unpublished(warehouse, dead, "a second time"), "it is final"
        for target in ("a", "b"):
            load_table(two.settings, run=other, target=target, attempt=1)
    assert (ops.find_run(warehouse, dead).error, loading_tables(two, dead)) == (DEAD, 2)
    publish(two.settings, run=other)
    assert loading_tables(two, dead) == 0


def test_a_run_that_was_closed_as_dead_goes_on_when_it_is_cleared(two: Any, warehouse: Warehouse) -> None:
    run = begin(two.settings, run_key="dag/cleared", tables=None, full_refresh=False)
    recover(warehouse, dead={run: DEAD})
    with two.held(run):
        assert ops.find_run(warehouse, run).status == "running"
        for target in ("a", "b"):
            load_table(two.settings, run=run, target=target, attempt=2)
    publish(two.settings, run=run)
    found = ops.find_run(warehouse, run)
    assert (found.status, found.error) == ("success", "")


def test_a_run_by_hand_without_its_lease_is_closed(two: Any, warehouse: Warehouse) -> None:
    run = begin(two.settings, run_key="cli/123", tables=None, full_refresh=False)
    assert recover(warehouse).closed_runs == (run,)
    fail(two.settings, run=run, run_key="cli/123", error="ended")
