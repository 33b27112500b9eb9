"""Rows of ops.publishes that were written by hand: those that do not fit are told, set aside once, and move nothing."""

from typing import Any
from uuid import UUID

import pytest
from elt.publishing import publish as publishing
from elt.runs.run import begin, load_table, publish
from warehouse import ops, records
from warehouse.client import Warehouse
from warehouse.swap import NO_UUID

HIGHEST = 2**64 - 1
UNKNOWN_RUN = 1_234_567_890_123_456


@pytest.fixture
def loaded(two: Any) -> int:
    """A run that has loaded both tables and not published them."""
    run = begin(two.settings, run_key="dag/loaded", tables=None, full_refresh=False)
    with two.held(run):
        for target in ("a", "b"):
            load_table(two.settings, run=run, target=target, attempt=1)
    return run


def raw_tables(shop: Any) -> dict[str, UUID]:
    with Warehouse(shop.settings.warehouse) as warehouse:
        return publishing.uuids(warehouse)


def counts(shop: Any) -> list[int]:
    return [shop.warehouse(f"SELECT count() FROM raw.{name}")[0][0] for name in ("a", "b")]


def forge(shop: Any, run: int, target: str, loading_table: str, old: Any, new: Any, version: int | None = None) -> None:
    """Adds an open row as the loader's own user, whose table it is."""
    with Warehouse(shop.settings.warehouse) as warehouse:
        row = {
            **{"run": run, "target": target, "loading_table": loading_table, "status": "open"},
            **{"old_uuid": str(old), "new_uuid": str(new), "version": version or records.microseconds()},
            **{"opened_at": f"{records.now():%Y-%m-%d %H:%M:%S}", "heartbeat_at": f"{records.now():%Y-%m-%d %H:%M:%S}"},
        }
        warehouse.insert_events("ops.publishes", [row])


def status_of(shop: Any, run: int, target: str) -> tuple[str, str]:
    where = f"run = {run} AND target = {{target:String}}"
    found = shop.admin_client.query(
        f"SELECT status, error FROM ops.publishes FINAL WHERE {where}", {"target": target}
    ).result_rows
    ((status, error),) = found
    return status, error


def test_a_forged_row_is_set_aside_once_and_moves_nothing(two: Any, loaded: int) -> None:
    before = raw_tables(two)
    ours, theirs = f"a__loading_{loaded}_1", f"b__loading_{loaded}_1"
    a, b, new_a, new_b, none = before["a"], before["b"], before[ours], before[theirs], NO_UUID
    attempts: dict[str, tuple[tuple[Any, ...], str]] = {
        "a run that never was": ((UNKNOWN_RUN, "a", ours, a, new_a), "no such run"),
        "a table that the run does not copy": ((loaded, "c", ours, none, new_a), "does not copy this table"),
        "a name that is SQL": ((loaded, "a`; DROP TABLE raw.b", ours, none, new_a), "does not copy this table"),
        "another table's rows": ((loaded, "a", ours, a, b), "its new_uuid is that of raw.b"),
        "a published table to drop": ((loaded, "a", ours, none, b), "its new_uuid is that of raw.b"),
        "another table's load": ((loaded, "a", ours, a, new_b), "its new_uuid is that of raw.b__loading"),
        "another table's attempt": ((loaded, "a", theirs, a, new_b), "no finished load of it into b__loading"),
        "no attempt": ((loaded, "a", "", a, new_a), "a table without a name"),
        "no new table": ((loaded, "a", ours, a, none), "not that of a new table"),
        "the old table as the new one": ((loaded, "a", ours, a, a), "not that of a new table"),
        "one table of the run alone": ((loaded, "a", ours, a, new_a), "all of its tables or none, and b has no row"),
        "the highest version": ((loaded, "b", theirs, b, a, HIGHEST), "its new_uuid is that of raw.a"),
    }
    for what, (row, reason) in attempts.items():
        forge(two, *row)
        code, out, err = two.command("recover")
        assert code == 0 and "was set aside" in out and reason in out, (what, out, err)
        assert raw_tables(two) == before, what
        status, error = status_of(two, row[0], row[1])
        assert status == "set_aside" and reason in error, what
        code, out, _ = two.command("recover")
        assert code == 0 and "nothing to recover" in out, what
    code, out, _ = two.command("status")
    assert code == 0 and out.count("was set aside") >= 5
    two.load()
    assert counts(two) == [2, 2]


def test_a_run_goes_on_after_a_forged_row_of_its_own(two: Any, loaded: int) -> None:
    before = raw_tables(two)
    forge(two, loaded, "a", f"a__loading_{loaded}_1", before["a"], before["b"])
    publish(two.settings, run=loaded)
    assert counts(two) == [2, 2]
    assert status_of(two, loaded, "a")[0] == "done"


def test_a_forged_row_does_not_bring_back_the_past(two: Any, loaded: int) -> None:
    two.sql("INSERT INTO a VALUES (3)")
    two.load()
    before = raw_tables(two)
    for target in ("a", "b"):
        name = f"{target}__loading_{loaded}_1"
        forge(two, loaded, target, name, before[target], before[name])
    code, out, _ = two.command("recover")
    assert code == 0 and out.count("began later and has published already") == 2
    assert raw_tables(two) == before


def test_a_publish_that_was_cut_is_finished_beside_forged_rows(two: Any, loaded: int) -> None:
    before = raw_tables(two)
    with Warehouse(two.settings.warehouse) as warehouse:
        publishing.open_journal(warehouse, ops.find_run(warehouse, loaded))
    two.admin_client.command(f"EXCHANGE TABLES raw.a AND raw.`a__loading_{loaded}_1`")
    forge(two, loaded, "c", f"a__loading_{loaded}_1", NO_UUID, before["b"])
    forge(two, UNKNOWN_RUN, "a", f"a__loading_{UNKNOWN_RUN}_1", before["a"], before["b"])
    code, out, _ = two.command("recover")
    assert code == 0 and "finished the publish of raw.b" in out and out.count("was set aside") == 2
    assert counts(two) == [2, 2]
    assert two.warehouse(f"SELECT status FROM ops.runs FINAL WHERE run = {loaded}") == [("success",)]


@pytest.mark.parametrize(("swapped", "expected"), [(False, [1, 1]), (True, [2, 1])])
def test_a_journal_that_lost_a_row_publishes_nothing_unless_it_was_cut_between_its_swaps(
    two: Any, loaded: int, swapped: bool, expected: list[int]
) -> None:
    before = raw_tables(two)
    with Warehouse(two.settings.warehouse) as warehouse:
        publishing.open_journal(warehouse, ops.find_run(warehouse, loaded))
    if swapped:
        two.admin_client.command(f"EXCHANGE TABLES raw.a AND raw.`a__loading_{loaded}_1`")
    forge(two, loaded, "b", f"b__loading_{loaded}_1", before["b"], before["a"])
    code, out, _ = two.command("recover")
    assert code == 0 and "raw.b, run" in out
    assert counts(two) == expected
    assert status_of(two, loaded, "a")[0] == ("done" if swapped else "set_aside")
    assert status_of(two, loaded, "b")[0] == "set_aside"
    if swapped:
        found = two.warehouse(f"SELECT status, error FROM ops.runs FINAL WHERE run = {loaded}")
        assert found[0][0] == "failed" and "replaced b" in found[0][1]
    two.load()
    assert counts(two) == [2, 2]
