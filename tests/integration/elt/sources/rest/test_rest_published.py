"""An API as a source of runs: fetched into the lake, published by the day, compared, and read again without the API."""

from __future__ import annotations

import gzip
import hashlib
import json
from datetime import date, timedelta
from typing import Any

import pytest
from elt.runs.fetch import fetch, fetch_run
from elt.runs.run import begin, load_tables, publish
from testing.demo_api.server import Fault
from warehouse.errors import TerminalError


def test_items_are_published_exactly_as_they_were_sent(store: Any) -> None:
    price = "1234567890123456789.10"
    store.api.products[3] = store.api.products[3].replace('"price":24.40', f'"price":{price}')
    done = store.load(verify=True, day=date(2026, 1, 3))
    assert {load.target: (load.mode, load.rows) for load in done.loads} == {
        "store__products": ("by_day", 20),
        "store__users": ("by_day", 10),
        "store__carts": ("by_day", 7),
    }
    assert all(load.verified_columns == ("dt", "object", "row", "data") for load in done.loads)
    assert store.rows("store__products") == [("2026-01-03", item) for item in store.api.products]
    assert price in store.rows("store__products")[3][1]
    assert store.rows("store__carts", "data") == [(item,) for item in store.api.carts]


def test_a_day_loaded_again_replaces_that_day_and_nothing_else(store: Any) -> None:
    for day in (1, 2, 3):
        store.load(day=date(2026, 1, day))
    before = store.rows("store__products", "_elt_run, toString(dt), data")
    store.api.products = store.api.products[:2]
    done = store.load(day=date(2026, 1, 2))
    assert store.days("store__products") == {"2026-01-01": 20, "2026-01-02": 2, "2026-01-03": 20}
    assert next(table.rows for table in done.published.tables if table.target == "store__products") == 42
    others = [row for row in store.rows("store__products", "_elt_run, toString(dt), data") if row[1] != "2026-01-02"]
    assert others == [row for row in before if row[1] != "2026-01-02"]
    # A day without any item is empty, and the others stay.
    store.api.carts = []
    store.load(day=date(2026, 1, 1))
    assert store.days("store__carts") == {"2026-01-02": 7, "2026-01-03": 7}


def test_ten_days_in_reverse_are_ten_days(store: Any) -> None:
    store.pipeline("\n  - {name: carts, path: /carts}\n")
    for day in range(10, 0, -1):
        store.api.carts = store.api.carts[:1] * day
        store.load(day=date(2026, 1, day))
    assert store.days("store__carts") == {f"2026-01-{day:02}": day for day in range(1, 11)}


def test_a_run_of_a_day_that_began_earlier_takes_over_the_days_published_meanwhile(store: Any) -> None:
    """The steps of the DAG, of two runs side by side: the later one publishes between the load and the publish of the earlier one."""
    settings = store.settings
    first = begin(settings, run_key="dag/1", tables=None, full_refresh=False, source="store", day=date(2026, 1, 1))
    second = begin(settings, run_key="dag/2", tables=None, full_refresh=False, source="store", day=date(2026, 1, 2))
    targets = ("store__products", "store__users", "store__carts")
    for run in (first, second):
        with store.shop.held(run):
            load_tables(settings, run=run, targets=targets, attempt=1)
    publish(settings, run=second)
    publish(settings, run=first)
    assert store.days("store__products") == {"2026-01-01": 20, "2026-01-02": 20}
    assert store.shop.warehouse("SELECT count() FROM system.tables WHERE name LIKE '%__loading_%'") == [(0,)]


def test_an_older_run_of_the_same_day_does_not_replace_a_newer_one(store: Any) -> None:
    settings = store.settings
    run = begin(
        settings, run_key="dag/1", tables=["store__carts"], full_refresh=False, source="store", day=date(2026, 1, 1)
    )
    with store.shop.held(run):
        load_tables(settings, run=run, targets=("store__carts",), attempt=1)
    store.api.carts = store.api.carts[:1]
    newer = begin(
        settings, run_key="dag/2", tables=["store__carts"], full_refresh=False, source="store", day=date(2026, 1, 1)
    )
    with store.shop.held(newer):
        load_tables(settings, run=newer, targets=("store__carts",), attempt=1)
    publish(settings, run=newer)
    with pytest.raises(TerminalError, match="overtaken"):
        publish(settings, run=run)
    assert store.days("store__carts") == {"2026-01-01": 1}


def test_a_day_is_loaded_again_from_the_lake_without_the_api(store: Any) -> None:
    store.load(day=date(2026, 1, 1))
    store.load(day=date(2026, 1, 2))
    before = store.rows("store__users")
    store.shop.admin_client.command("TRUNCATE TABLE raw.store__users")
    store.api.users = []
    asked = len(store.api.seen)
    code, out, err = store.shop.command("load", "store", "--from-lake", "--dt", "2026-01-01")
    assert code == 0 and "Published 3 tables" in out, out + err
    assert store.days("store__users") == {"2026-01-01": 10}
    # Every day that the lake has.
    code, out, err = store.shop.command("load", "store", "--from-lake", "--dt", "2026-01-01", "--full-refresh")
    assert code == 0 and store.rows("store__users") == before and len(store.api.seen) == asked, out + err
    code, _, err = store.shop.command("load", "store", "--from-lake", "--dt", "2025-12-31")
    assert code == 1 and "the lake has nothing of 2025-12-31" in err and len(store.api.seen) == asked


def test_a_published_table_that_somebody_replaced_keeps_nothing_silently(store: Any) -> None:
    store.load(day=date(2026, 1, 1))
    store.shop.admin_client.command("DROP TABLE raw.store__carts SYNC")
    with pytest.raises(TerminalError, match=r"not the table that the loader published last.*--full-refresh"):
        store.load(day=date(2026, 1, 2))
    store.load(day=date(2026, 1, 2), full_refresh=True)
    assert store.days("store__carts") == {"2026-01-01": 7, "2026-01-02": 7}


def test_more_days_than_an_insert_takes_by_default_are_loaded_at_once(store: Any) -> None:
    store.pipeline("\n  - {name: carts, path: /carts}\n")
    first = date(2025, 1, 1)
    for number in range(130):
        fetch(store.settings, source="store", day=first + timedelta(days=number))
    store.load(full_refresh=True, day=first, from_lake=True)
    assert len(store.days("store__carts")) == 130


def test_fetch_and_load_are_two_halves_and_verify_compares_every_day(store: Any) -> None:
    code, out, err = store.shop.command("fetch", "store", "--dt", "2026-01-05")
    assert code == 0 and "37 items of 3 endpoints are in the lake" in out, out + err
    asked = len(store.api.seen)
    assert asked == 3
    code, out, err = store.shop.command("load", "store", "--from-lake", "--dt", "2026-01-05", "--verify")
    assert code == 0 and len(store.api.seen) == asked, out + err
    code, out, err = store.shop.command("load", "store", "--dt", "2026-01-06")
    assert code == 0, out + err
    code, out, err = store.shop.command("verify", "--published", "store")
    assert code == 0 and "74 rows of 3 tables are as the source has them now" in out, out + err
    store.shop.admin_client.command(
        "ALTER TABLE raw.store__carts UPDATE data = replace(data, '2', '3') WHERE row = 1",
        settings={"mutations_sync": 2},
    )
    code, out, _ = store.shop.command("verify", "--published", "store")
    assert code == 1 and "other values in data" in out
    code, _, err = store.shop.command("load", "store", "--dt", "2026-13-05")
    assert code == 2


def test_a_run_repeats_no_fetch_that_it_has_done(store: Any) -> None:
    run = begin(store.settings, run_key="dag/1", tables=None, full_refresh=False, source="store", day=date(2026, 1, 1))
    found = fetch_run(store.settings, run=run)
    assert [(one.target, one.rows) for one in found] == [
        ("store__products", 20),
        ("store__users", 10),
        ("store__carts", 7),
    ]
    asked = len(store.api.seen)
    fetch_run(store.settings, run=run)
    with store.shop.held(run):
        load_tables(store.settings, run=run, targets=("store__products", "store__users", "store__carts"), attempt=1)
    publish(store.settings, run=run)
    assert len(store.api.seen) == asked and store.days("store__users") == {"2026-01-01": 10}


def test_keys_that_are_dropped_or_masked_are_stored_nowhere(store: Any) -> None:
    store.load(day=date(2026, 1, 1))
    stored = store.stored()
    in_raw = "\n".join(row[0] for row in store.rows("store__users", "data"))
    for text in (stored, in_raw):
        assert "secret-of-user" not in text and "@example.com" not in text and '"last1"' not in text
    (user,) = [json.loads(row[0]) for row in store.rows("store__users", "data") if '"id":3,' in row[0]]
    assert user["email"] == hashlib.sha256(b"saltuser3@example.com").hexdigest()
    assert user["name"]["firstname"] == "first3" and "password" not in user and user["phone"] == "1-570-236-0003"


def test_new_keys_and_other_kinds_break_nothing(store: Any) -> None:
    store.load(day=date(2026, 1, 1))
    store.api.carts = ['{"id":"text now","extra":{"deep":[1,2]}}', '{"id":null}', "{}"]
    store.load(day=date(2026, 1, 2))
    assert [row[1] for row in store.rows("store__carts") if row[0] == "2026-01-02"] == store.api.carts


def test_a_fetch_that_does_not_meet_what_is_expected_changes_nothing(store: Any) -> None:
    store.load(day=date(2026, 1, 1))
    for products, words in (
        ([], "has 0 items for 2026-01-01, and pipeline.yml expects at_least 1"),
        (['{"id":1,"price":2}', '{"id":2}'], "item 2 of page 1 has no key price"),
    ):
        store.api.products = products
        with pytest.raises(TerminalError, match=words):
            store.load(day=date(2026, 1, 1))
    assert store.days("store__products") == {"2026-01-01": 20}
    store.load(day=date(2026, 1, 1), from_lake=True)
    assert store.days("store__products") == {"2026-01-01": 20}


def test_an_object_that_is_not_as_it_was_written_is_refused(store: Any) -> None:
    store.load(day=date(2026, 1, 1))
    (page,) = [one.path for one in store.lake.objects() if "/carts/" in one.path and one.path.endswith(".gz")]
    store.lake.write(page, gzip.compress(b"{}\n"))
    with pytest.raises(TerminalError, match=r"page-00001\.jsonl\.gz in the lake is not as it was written"):
        store.load(day=date(2026, 1, 1), from_lake=True)
    assert store.days("store__carts") == {"2026-01-01": 7}


def test_on_error_keep_publishes_the_other_endpoints(store: Any) -> None:
    store.pipeline(more="  on_error: keep\n")
    store.load(day=date(2026, 1, 1))
    store.api.products = []
    store.api.carts = store.api.carts[:3]
    done = store.load(day=date(2026, 1, 1))
    assert {load.target: bool(load.kept) for load in done.loads} == {
        "store__products": True,
        "store__users": False,
        "store__carts": False,
    }
    assert store.days("store__products") == {"2026-01-01": 20} and store.days("store__carts") == {"2026-01-01": 3}


def test_a_fetch_that_was_cut_goes_on_at_the_endpoint_that_is_missing(store: Any) -> None:
    run = begin(store.settings, run_key="dag/1", tables=None, full_refresh=False, source="store", day=date(2026, 1, 1))
    store.api.before = lambda number: store.api.faults.append(Fault("status", 404)) if number == 3 else None
    with pytest.raises(TerminalError, match="/carts answers 404"):
        fetch_run(store.settings, run=run)
    fetch_run(store.settings, run=run)
    assert [one.path for one in store.api.seen] == ["/products", "/users", "/carts", "/carts"]
