"""Tables that are not copied: gone at the source, excluded, or not copyable. Said wherever a person looks, and dropped only where that is safe."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from elt.planning.selection import select_tables
from elt.runs.gone import views_that_read
from elt.runs.place import place_of
from elt.runs.run import begin
from stack.check import probes
from warehouse import ops, records
from warehouse.client import Warehouse

READER = "elt_test_reader"


@pytest.fixture
def many(shop: Any) -> Any:
    """A source of 11 tables, of which one is less than a tenth, copied by `tables: all`."""
    shop.sql(*(f"CREATE TABLE m{n} (id int PRIMARY KEY)" for n in range(11)))
    all_tables(shop)
    shop.load()
    return shop


def all_tables(shop: Any, *lines: str) -> None:
    text = "".join(f"    {line}\n" for line in ("tables: all", *lines))
    shop.settings.elt_pipeline.write_text(f"sources:\n  - name: s\n    kind: postgres\n{text}")


def in_raw(shop: Any, table: str) -> bool:
    found = shop.warehouse(f"SELECT count() FROM system.tables WHERE database = 'raw' AND name = '{table}'")
    return bool(found[0][0])


def absent(shop: Any) -> dict[str, tuple[str, str]]:
    """Status and reason by source table."""
    with Warehouse(shop.settings.warehouse) as warehouse:
        return {one.source: (one.status, one.reason) for one in ops.absences(warehouse) if one.status != "over"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("DROP TABLE m3", "the source has no such table"),
        (f"REVOKE SELECT ON m3 FROM {READER}", "this role may not read it any more"),
        (
            f"REVOKE SELECT ON m3 FROM {READER}; GRANT SELECT (id) ON m3 TO {READER}",
            "this role may read only some of its columns",
        ),
        ("ALTER TABLE m3 ENABLE ROW LEVEL SECURITY", "row-level security hides rows of it"),
    ],
)
def test_a_table_that_is_gone_stays_and_is_told_by_run_check_and_status(many: Any, change: str, reason: str) -> None:
    many.sql(change)
    code, out, err = many.command("check")
    assert code == 0 and "public.m3 is not copied since" in out and reason in out, out + err
    code, out, err = many.command("load")
    assert code == 0 and "raw.m3 stays as it was published" in out and reason in out, out + err
    first = many.load()
    assert "public.m3 is not copied since" in first.note and first.note.count(";") <= 1
    assert in_raw(many, "m3")
    code, out, err = many.command("status")
    assert code == 0 and "not copied" in out and reason.split()[0] in out, out + err
    with Warehouse(many.settings.warehouse) as warehouse:
        assert ops.find_run(warehouse, first.run).note == first.note
        (one,) = [one for one in ops.absences(warehouse) if one.target == "m3"]
        # Since the first run that found it so, and not since the last.
        assert one.status == "gone" and one.since < ops.find_run(warehouse, first.run).started_at
    told: list[str] = []
    begin(many.settings, run_key="dag/1", tables=None, full_refresh=False, warn=told.append)
    assert told and "public.m3" in told[0]


def test_a_table_that_comes_back_is_copied_and_told_no_more(many: Any) -> None:
    many.sql(f"REVOKE SELECT ON m3 FROM {READER}")
    assert "public.m3" in many.load().note
    many.sql(f"GRANT SELECT ON m3 TO {READER}", "INSERT INTO m3 VALUES (7)")
    assert many.load().note == "" and "public.m3" not in absent(many)
    assert many.warehouse("SELECT id FROM raw.m3") == [(7,)]


def test_a_table_taken_off_the_list_or_given_another_name_is_told(shop: Any) -> None:
    shop.sql("CREATE TABLE listed (id int)", "CREATE TABLE kept (id int)")
    shop.tables("public.listed", "public.kept")
    shop.load()
    shop.tables("public.kept")
    assert "raw.listed stays as it was published" in shop.load().note
    shop.tables("public.kept", "name: public.listed, target: other")
    assert "it is copied as raw.other now" in shop.load().note


def test_on_gone_drop_waits_for_two_runs_and_says_what_it_did(many: Any) -> None:
    many.sql("DROP TABLE m3")
    all_tables(many, "on_gone: drop")
    for runs in ("0", "1"):
        assert f"only {runs} of 2 runs have succeeded without it" in many.load().note
        assert in_raw(many, "m3")
    assert "raw.m3 was dropped (on_gone: drop)" in many.load().note
    assert not in_raw(many, "m3") and absent(many)["public.m3"][0] == "dropped"
    assert many.load().note == ""
    code, out, _ = many.command("status")
    assert code == 0 and "dropped" in out


def test_on_gone_drop_drops_nothing_while_more_than_a_tenth_is_gone(many: Any) -> None:
    many.sql("DROP TABLE m3, m4")
    all_tables(many, "on_gone: drop")
    notes = [many.load().note for _ in range(3)]
    assert "2 of 11 published tables are gone, which is more than a tenth" in notes[-1]
    assert in_raw(many, "m3") and in_raw(many, "m4")
    many.sql("CREATE TABLE m4 (id int PRIMARY KEY)")
    assert "raw.m3 was dropped" in many.load().note


def test_on_gone_drop_drops_nothing_that_a_view_of_the_warehouse_reads(many: Any) -> None:
    many.sql("DROP TABLE m3")
    all_tables(many, "on_gone: drop")
    many.admin_client.command("CREATE VIEW analytics.gone_reader AS SELECT * FROM raw.m3")
    try:
        notes = [many.load().note for _ in range(3)]
        assert "analytics.gone_reader reads it" in notes[-1] and in_raw(many, "m3")
    finally:
        many.admin_client.command("DROP VIEW analytics.gone_reader")
    assert "raw.m3 was dropped" in many.load().note


@pytest.mark.parametrize(
    ("recorded", "words"),
    [("", "recorded no source"), ('{"database":1,"host":"stag:5432","system":"1"}', "the source is another one")],
)
def test_on_gone_drop_drops_nothing_that_came_from_another_source(many: Any, recorded: str, words: str) -> None:
    many.sql("DROP TABLE m3")
    all_tables(many, "on_gone: drop")
    with Warehouse(many.settings.warehouse) as warehouse:
        run = ops.find_run(warehouse, ops.published_runs(warehouse)["m3"])
        records.append(warehouse, [dataclasses.replace(run, source=recorded)])
    notes = [many.load().note for _ in range(3)]
    assert words in notes[-1] and in_raw(many, "m3")


def test_pipeline_health_says_since_when_and_why_a_table_is_not_copied(shop: Any, clickhouse: Any, repo: Path) -> None:
    shop.sql("CREATE TABLE stays (id int)", "CREATE TABLE goes (id int)", "CREATE TABLE no_columns ()")
    all_tables(shop)
    shop.load()
    shop.sql("DROP TABLE goes")
    shop.load()
    folder = repo / "superset/assets/warehouse/datasets"
    with clickhouse.client("superset_operations") as client:

        def shown(dataset: str) -> list[dict[str, Any]]:
            (file,) = folder.rglob(f"{dataset}.yaml")
            return list(client.query(yaml.safe_load(file.read_text())["sql"]).named_results())

        tables = {row["target"]: row for row in shown("ops_tables")}
        assert tables["stays"]["absent_since"] is None and tables["stays"]["absent_reason"] == ""
        assert tables["goes"]["absent_since"] is not None and "no such table" in tables["goes"]["absent_reason"]
        assert (tables["goes"]["status"], tables["no_columns"]["status"]) == ("published", "left out")
        assert tables["no_columns"]["absent_reason"] == "it has no columns"
        with Warehouse(shop.settings.warehouse) as warehouse:
            assert {"stays"} == {target for target, *_ in probes.published(warehouse)} & {"stays", "goes"}
        now = {row["what"]: row for row in shown("ops_state")}
        assert now["Tables not copied"]["figure"] >= 2
        assert now["Oldest table"]["figure"] is not None
        assert any("public.goes is not copied" in row["note"] for row in shown("ops_runs"))


def test_views_are_found_by_the_table_that_they_read_and_no_other(shop: Any) -> None:
    admin = shop.admin_client
    names = {"v_t": "raw.t_read", "v_odd": "raw.`t read`", "v_more": "raw.t_read_more"}
    for table in names.values():
        admin.command(f"CREATE TABLE {table} (id Int32) ENGINE = MergeTree ORDER BY id")
    for view, table in names.items():
        admin.command(f"CREATE VIEW analytics.{view} AS SELECT id FROM {table}")
    try:
        with Warehouse(shop.settings.warehouse) as warehouse:
            found = {name: views_that_read(warehouse, name) for name in ("t_read", "t read", "t_read_more", "t")}
    finally:
        for view, table in names.items():
            admin.command(f"DROP VIEW analytics.{view}")
            admin.command(f"DROP TABLE {table}")
    assert found == {
        "t_read": ["analytics.v_t"],
        "t read": ["analytics.v_odd"],
        "t_read_more": ["analytics.v_more"],
        "t": [],
    }


def test_all_leaves_out_what_is_excluded_and_what_cannot_be_copied_and_names_each(shop: Any) -> None:
    shop.sql(
        "CREATE SCHEMA audit",
        f"GRANT USAGE ON SCHEMA audit TO {READER}",
        "CREATE TABLE audit.log (id int)",
        'CREATE TABLE audit."a.b" (id int)',
        "CREATE TABLE tmp_1 (id int)",
        "CREATE TABLE tmp (id int)",
        "CREATE TABLE nothing ()",
        "CREATE TABLE guarded (id int)",
        "ALTER TABLE guarded ENABLE ROW LEVEL SECURITY",
        "CREATE TABLE partly (id int, secret text)",
        f"REVOKE SELECT ON partly FROM {READER}",
        f"GRANT SELECT (id) ON partly TO {READER}",
        "CREATE TABLE whole (id int)",
    )
    all_tables(shop, "exclude: [audit.*, public.tmp_*, public.typo_*]")
    place = place_of(shop.settings)
    selection = select_tables(place.file, place.source)
    assert [entry.target_name for entry in selection.entries] == ["tmp", "whole"]
    assert list(selection.excluded) == ['audit."a.b"', "audit.log", "public.tmp_1"]
    code, out, err = shop.command("check")
    assert code == 0, out + err
    for words in (
        "public.nothing is left out: it has no columns",
        "public.guarded is left out: row-level security",
        "public.partly is left out: this role may read only some of its columns",
        'excluded in pipeline.yml: audit."a.b", audit.log, public.tmp_1',
        "exclude: public.typo_* matches no table",
    ):
        assert words in out, out
    done = shop.load()
    assert {table.target for table in done.published.tables} == {"tmp", "whole"}
    assert "public.guarded is left out since" in done.note and "public.nothing" in done.note
    assert absent(shop)["public.nothing"] == ("left out", "it has no columns")
    code, out, _ = shop.command("status")
    assert code == 0 and "public.guarded" in out and "left out" in out


def test_a_table_that_is_named_is_not_left_out_but_refused(shop: Any) -> None:
    shop.sql("CREATE TABLE guarded (id int)", "ALTER TABLE guarded ENABLE ROW LEVEL SECURITY")
    all_tables(shop, "options: [{name: public.guarded}]")
    code, out, _ = shop.command("check")
    assert code == 1 and "row-level security" in out
