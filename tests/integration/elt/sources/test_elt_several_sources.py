"""Several sources in one pipeline.yml: each has its own names, lease, runs and leftovers, and none stands in another's way."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from elt.cli.check import check
from elt.planning.plan import read_plan, write_plan
from elt.planning.selection import owner_of
from elt.publishing.leases import publishing_lease, run_lease
from elt.runs.place import place_of
from elt.runs.run import begin, load_table, publish, recover
from elt.runs.whole_run import Listener, load_everything
from testing.servers import run_sql
from testing.waiting import until
from warehouse import ops, records
from warehouse.client import Warehouse
from warehouse.errors import PipelineError, TerminalError
from warehouse.leases import LeaseTakenError

READER = "elt_test_reader"


class Second:
    """A second database beside that of `shop`, which is named in pipeline.yml as `erp`."""

    def __init__(self, shop: Any, owner: str) -> None:
        self.shop, self._owner = shop, owner

    def sql(self, *statements: str) -> list[tuple[Any, ...]]:
        return run_sql(self._owner, *statements)

    def pipeline(self, shop: str, erp: str) -> None:
        """Writes pipeline.yml with these lines in the two sources."""
        self.shop.settings.elt_pipeline.write_text(
            f"sources:\n- {{name: shop, kind: postgres, {shop}}}\n- {{name: erp, kind: postgres, url: {{env: ERP_URL}}, {erp}}}\n"
        )

    def load(self, source: str | None = None, **options: Any) -> Any:
        silent = Listener(lambda _: None, lambda _: None)
        return load_everything(self.shop.settings, silent, source=source, **options)


@pytest.fixture
def two(shop: Any, postgres: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Second]:
    name = f"erp_{os.getpid()}"
    run_sql(postgres.dsn(), f"CREATE DATABASE {name}")
    owner = postgres.dsn(dbname=name)
    run_sql(owner, f"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {READER}")
    # The same role on the same server.
    url = urlsplit(shop.environment["SOURCE_URL"])._replace(path=f"/{name}").geturl()
    monkeypatch.setenv("ERP_URL", url)
    monkeypatch.setitem(shop.environment, "ERP_URL", url)
    shop.sql("CREATE TABLE orders (id int PRIMARY KEY)", "INSERT INTO orders VALUES (1), (2)")
    both = Second(shop, owner)
    both.sql(
        "CREATE TABLE orders (id int PRIMARY KEY, total numeric(9, 2) NOT NULL)",
        "INSERT INTO orders VALUES (7, 19.99)",
        "CREATE SCHEMA hr",
        f"GRANT USAGE ON SCHEMA hr TO {READER}",
        "CREATE TABLE hr.people (id int PRIMARY KEY)",
        f"GRANT SELECT ON hr.people TO {READER}",
    )
    both.pipeline("tables: [{name: public.orders}]", "tables: [{name: public.orders}, {name: hr.people}]")
    yield both
    run_sql(postgres.dsn(), f"DROP DATABASE {name} WITH (FORCE)")


def test_each_source_has_its_own_names_and_one_command_loads_all(two: Second) -> None:
    shop = two.shop
    code, out, err = shop.command("load")
    assert code == 0 and "Published 3 tables with 3 rows, each source read at one instant" in out, out + err
    assert shop.warehouse("SELECT id FROM raw.orders ORDER BY id") == [(1,), (2,)]
    assert shop.warehouse("SELECT id, toString(total) FROM raw.erp__orders") == [(7, "19.99")]
    assert shop.warehouse("SELECT count() FROM raw.erp__hr__people") == [(0,)]
    assert shop.warehouse(
        "SELECT source_name, tables FROM ops.runs FINAL WHERE status = 'success' ORDER BY run DESC LIMIT 2"
    ) == [("erp", ["erp__orders", "erp__hr__people"]), ("shop", ["orders"])]
    two.sql("INSERT INTO orders VALUES (8, 1)")
    for names, tables in ((["erp"], 2), (["erp__orders"], 1), (["orders"], 1)):
        code, out, err = shop.command("load", *names)
        assert code == 0 and f"Published {tables} tables" in out, out + err
    code, out, err = shop.command("verify", "--published")
    assert code == 0 and "4 rows of 3 tables" in out, out + err
    code, out, _ = shop.command("check")
    assert code == 0 and "raw.erp__hr__people" in out


def test_a_source_that_is_away_is_told_and_the_others_go_on(two: Second, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = two.shop
    two.load("erp")
    monkeypatch.setitem(shop.environment, "ERP_URL", "postgresql://me:hush@127.0.0.1:9/erp")
    code, out, _ = shop.command("load")
    assert code == 1 and "Published 1 tables with 2 rows" in out and "127.0.0.1:9" in out and "hush" not in out
    # Its tables are there as before, as far as anybody can tell.
    code, out, _ = shop.command("check")
    assert code == 1 and "127.0.0.1:9" in out and "stays as it was published" not in out
    two.pipeline("tables: [{name: public.orders}]", "tables: all")
    code, out, _ = shop.command("plan")
    assert code == 1 and "the tables of erp stay as they were" in out and "orders -> raw.orders" in out
    monkeypatch.setitem(shop.environment, "ERP_URL", "")
    code, out, _ = shop.command("load", "erp")
    assert code == 1
    code, out, _ = shop.command("check")
    assert code == 1 and "ERP_URL, the address of the source erp in pipeline.yml, is not set" in out


def test_names_that_would_meet_in_raw_are_named(two: Second) -> None:
    two.shop.sql("CREATE SCHEMA erp", f"GRANT USAGE ON SCHEMA erp TO {READER}", "CREATE TABLE erp.orders (id int)")
    two.shop.sql(f"GRANT SELECT ON erp.orders TO {READER}")
    two.pipeline("tables: [{name: erp.orders}]", "tables: [{name: public.orders}]")
    with pytest.raises(
        PipelineError, match=r"shop: erp\.orders and erp: public\.orders would both be raw\.erp__orders"
    ):
        two.load()
    two.pipeline("tables: all", "tables: [{name: public.orders}]")
    with pytest.raises(TerminalError, match=r"erp\.orders would be raw\.erp__orders, a name of the source erp"):
        two.load()
    two.pipeline("tables: all, exclude: [erp.*]", "tables: all")
    two.load()
    assert [table.target for table in two.load("erp").published.tables] == ["erp__hr__people", "erp__orders"]
    checked = check(two.shop.settings)
    assert not checked.mistakes and {table.target for table in checked.tables} == {
        "orders",
        "erp__hr__people",
        "erp__orders",
    }


def test_a_run_of_one_source_waits_for_none_of_another(two: Second) -> None:
    settings = two.shop.settings
    number = begin(settings, source="shop", run_key="dag/shop", tables=None, full_refresh=False)
    with two.shop.held(number):
        assert load_table(settings, run=number, target="orders", attempt=1).rows == 2
        # Neither its lease nor its leftovers are another's.
        assert len(two.load("erp").published.tables) == 2
        with Warehouse(settings.warehouse) as warehouse:
            with pytest.raises(LeaseTakenError), run_lease(warehouse, "shop", holder="cli/x", wait_seconds=0):
                pass
            assert any(
                "__loading_" in name
                for (name,) in warehouse.rows("SELECT name FROM system.tables WHERE database = 'raw'")
            )
    assert [table.rows for table in publish(settings, run=number).tables] == [2]


def test_publishing_waits_for_another_source_and_says_for_whom(two: Second) -> None:
    settings, said = two.shop.settings, []
    told = threading.Event()

    def tell(sentence: str) -> None:
        said.append(sentence)
        if "cli/other" in sentence:
            told.set()

    with Warehouse(settings.warehouse) as warehouse, ThreadPoolExecutor(1) as pool:
        with publishing_lease(warehouse, holder="cli/other"):
            silent = Listener(tell, lambda _: None)
            run = pool.submit(load_everything, settings, silent, source="erp")
            assert told.wait(60), said
            # Nothing of the source is held meanwhile.
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'elt load%' AND datname = current_database()"
            until(lambda: two.sql(waiting) == [(0,)], "the end of the source's sessions")
        assert len(run.result(60).published.tables) == 2
    assert any("waiting for cli/other" in sentence for sentence in said)


def test_recovery_drops_what_its_own_source_left(two: Second) -> None:
    settings = two.shop.settings
    with Warehouse(settings.warehouse) as warehouse:
        dead: dict[str, int] = {}
        for source, target in (("shop", "orders"), ("erp", "erp__orders")):
            dead[source] = begin(
                settings, source=source, run_key=f"cli/{source}/1", tables=[target], full_refresh=False
            )
            place = place_of(settings, source)
            entry = next(one for one in place.entries() if one.target_name == target)
            with place.source.hold([entry], "test") as held:
                records.append(warehouse, [replace(ops.find_run(warehouse, dead[source]), snapshot=held.instant)])
                load_table(settings, run=dead[source], target=target, attempt=1)
        found = recover(settings, source="erp", holder="cli/test")
        assert found.closed_runs == (dead["erp"],) and [name.partition("__loading_")[0] for name in found.dropped] == [
            "erp__orders"
        ]
        found = recover(settings, source="shop", holder="cli/test")
        assert found.closed_runs == (dead["shop"],) and [name.partition("__loading_")[0] for name in found.dropped] == [
            "orders"
        ]


def test_a_source_that_is_taken_out_of_the_file_is_told_and_cleared_up_by_the_main_one(
    two: Second, tmp_path: Path
) -> None:
    folder = tmp_path / "plan"
    folder.mkdir()
    (folder / "a.csv").write_text("a\n1\n")
    files = f"- {{name: plan, kind: files, url: 'file://{folder}', tables: [{{name: a, path: '*.csv'}}]}}\n"
    two.shop.sql(*(f"CREATE TABLE t{number} (id int)" for number in range(12)))
    two.pipeline("tables: all, on_gone: drop", "tables: [{name: public.orders}]")
    file = two.shop.settings.elt_pipeline
    both = file.read_text()
    file.write_text(both + files)
    for source in ("shop", "erp", "plan"):
        two.load(source)
        assert two.load(source).note == ""
    left = begin(two.shop.settings, source="plan", run_key="cli/plan/1", tables=None, full_refresh=True)
    load_table(two.shop.settings, run=left, target="plan__a", attempt=1)
    file.write_text(both)
    recovered = recover(two.shop.settings, source="erp", holder="cli/test")
    assert recovered.nothing
    with Warehouse(two.shop.settings.warehouse) as warehouse, run_lease(warehouse, "plan", holder="cli/x"):
        assert recover(two.shop.settings, source="shop", holder="cli/test").nothing
    recovered = recover(two.shop.settings, source="shop", holder="cli/test")
    assert recovered.closed_runs == (left,) and len(recovered.dropped) == 1
    for _ in range(3):
        note = two.load().note
        assert "raw.plan__a stays as it was published" in note and "pipeline.yml has no source plan any more" in note
    assert "it was copied from a source of another kind" in note
    with pytest.raises(TerminalError, match="has no source plan; it has shop, erp"):
        two.load("plan")


def test_a_table_that_came_from_files_is_copied_whole_when_it_comes_from_a_database(
    two: Second, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n")
    file = two.shop.settings.elt_pipeline
    file.write_text(
        f"sources: [{{name: erp, kind: files, url: 'file://{tmp_path}', tables: [{{name: orders, path: '*.csv'}}]}}]"
    )
    two.load("erp")
    two.sql("ALTER TABLE orders ADD at timestamptz NOT NULL DEFAULT now()")
    for count in (1, 1):
        two.pipeline(
            "tables: [{name: public.orders}]", "tables: [{name: public.orders, mode: incremental, cursor: at}]"
        )
        done = two.load("erp")
        assert done.published.tables[0].rows == count
    assert two.shop.warehouse("SELECT id, toString(total) FROM raw.erp__orders FINAL") == [(7, "19.99")]


def test_a_name_that_two_sources_may_have_is_asked_back(two: Second) -> None:
    file = place_of(two.shop.settings).file
    assert owner_of(file, "orders").name == "shop" and owner_of(file, "erp__orders").name == "erp"
    assert owner_of(file, "hr.people").name == "erp" and owner_of(file, "anything").name == "shop"
    with pytest.raises(
        TerminalError, match=r"public\.orders may be a table of shop or erp; .*: orders \(shop\), erp__orders \(erp\)"
    ):
        owner_of(file, "public.orders")
    two.pipeline("tables: all", "tables: [{name: public.orders}]")
    code, _, err = two.shop.command("load", "public.orders")
    assert code == 1 and "erp__orders (erp), shop" in err


def test_dags_stay_as_planned_while_the_file_has_mistakes(two: Second) -> None:
    settings = two.shop.settings
    planned = write_plan(settings)
    assert [source.name for source in planned] == ["shop", "erp"]
    settings.elt_pipeline.write_text("sources: [{name: shop, kind: postgres, tables: 3}]")
    assert read_plan(settings.elt_plan, settings.elt_pipeline) == planned
    settings.elt_plan.unlink()
    with pytest.raises(PipelineError, match="line 1"):
        read_plan(settings.elt_plan, settings.elt_pipeline)
