"""`on_error: keep`: a table whose load fails keeps what is published, the others are published, and everybody is told."""

import contextlib
import threading
from typing import Any

import psycopg2
import pytest
from elt.publishing.publish import open_journal
from elt.runs.run import begin, load_tables, publish, recover
from elt.sources.postgres.sessions import session as source
from warehouse import ops
from warehouse.client import Warehouse
from warehouse.errors import PipelineError, TerminalError

READER = "elt_test_reader"
KEEP = "on_error: keep"
BREAKS = {
    "refused value": "INSERT INTO kept VALUES (2, 'infinity')",
    "no such table": "DROP TABLE kept",
    "no right": f"REVOKE SELECT ON kept FROM {READER}",
    "row-level security": "ALTER TABLE kept ENABLE ROW LEVEL SECURITY",
    "no such column": "ALTER TABLE kept DROP COLUMN at",
}


@pytest.fixture
def pair(shop: Any) -> Any:
    """Two published tables, of which `kept` may fail, and a new row in the other."""
    shop.sql(
        "CREATE TABLE kept (id int PRIMARY KEY, at timestamp)",
        "CREATE TABLE other (id int PRIMARY KEY)",
        "INSERT INTO kept VALUES (1, now())",
        "INSERT INTO other VALUES (1)",
    )
    shop.tables(f"name: public.kept, {KEEP}", "public.other")
    shop.load()
    shop.sql("INSERT INTO other VALUES (2)")
    return shop


def rows(shop: Any) -> dict[str, int]:
    return {name: shop.warehouse(f"SELECT count() FROM raw.{name}")[0][0] for name in ("kept", "other")}


def run_of(shop: Any, number: int) -> ops.Run:
    with Warehouse(shop.settings.warehouse) as warehouse:
        return ops.find_run(warehouse, number)


@pytest.mark.parametrize("change", BREAKS.values(), ids=BREAKS)
@pytest.mark.parametrize("parallel", [1, 2])
def test_a_table_that_fails_keeps_what_is_published_and_the_others_are_published(
    pair: Any, change: str, parallel: int
) -> None:
    if "COLUMN" in change:
        pair.tables(f"name: public.kept, {KEEP}, exclude: [at]", "public.other")
        pair.load()
    pair.sql(change)
    done = pair.load(workers=parallel)
    assert rows(pair) == {"kept": 1, "other": 2}
    assert [table.target for table in done.published.tables] == ["other"]
    (kept,) = [load for load in done.loads if load.kept]
    assert kept.target == "kept" and "kept" in kept.kept
    run = run_of(pair, done.run)
    assert run.status == "success" and run.error == f"raw.kept keeps what was published before: {kept.kept}"
    code, out, err = pair.command("load")
    assert code == 0 and "raw.kept keeps what was published before" in out and "Published 1 tables" in out, out + err
    code, out, _ = pair.command("status")
    assert code == 0 and "keeps what was published before" in out
    assert pair.warehouse(f"SELECT status FROM ops.loads FINAL WHERE run = {done.run} AND target = 'kept'") == [
        ("kept",)
    ]


def test_a_table_that_is_well_again_is_copied_by_the_next_run(pair: Any) -> None:
    pair.sql("INSERT INTO kept VALUES (2, 'infinity')")
    pair.load()
    pair.sql("UPDATE kept SET at = now() WHERE id = 2")
    done = pair.load()
    assert rows(pair) == {"kept": 2, "other": 2} and run_of(pair, done.run).error == ""


@pytest.mark.parametrize("first", ["kept", "other"])
def test_the_tables_after_the_one_that_fails_are_read_at_the_same_instant(pair: Any, first: str) -> None:
    # An error of Postgres ends the transaction that reads the instant of the run.
    entries = {"kept": f"name: public.kept, {KEEP}, where: 1 / (id - 1) = 1", "other": f"name: public.other, {KEEP}"}
    pair.tables(entries.pop(first), *entries.values())
    done = pair.load(workers=1)
    assert rows(pair) == {"kept": 1, "other": 2}
    assert len({load.snapshot for load in done.loads}) == 1


def test_a_table_that_was_never_published_fails_the_run(pair: Any) -> None:
    pair.sql("CREATE TABLE fresh (id int PRIMARY KEY, at timestamp)", "INSERT INTO fresh VALUES (1, 'infinity')")
    pair.tables("public.other", f"name: public.fresh, {KEEP}")
    with pytest.raises(TerminalError, match=r"public\.fresh\.at"):
        pair.load()
    assert rows(pair)["other"] == 1


def test_a_run_of_which_no_table_could_be_loaded_fails(pair: Any) -> None:
    pair.sql("INSERT INTO kept VALUES (2, 'infinity')")
    with pytest.raises(TerminalError, match=r"could load none of its tables.*infinity"):
        pair.load("kept")
    pair.sql("DROP TABLE kept")
    with pytest.raises(TerminalError, match=r"no table public\.kept"):
        pair.load("kept")


def test_keep_is_for_all_tables_or_for_one(pair: Any) -> None:
    text = "sources:\n  - name: s\n    kind: postgres\n    tables: all\n    on_error: {}\n    options: [{{name: public.kept, on_error: {}}}]\n"
    pair.sql("INSERT INTO kept VALUES (2, 'infinity')")
    for of_all, of_one, stays in (("keep", "fail", False), ("fail", "keep", True)):
        pair.settings.elt_pipeline.write_text(text.format(of_all, of_one))
        if stays:
            assert any(load.kept for load in pair.load().loads)
        else:
            with pytest.raises(TerminalError, match="infinity"):
                pair.load()
    pair.settings.elt_pipeline.write_text(text.format("keep", "x").split("    options")[0])
    assert any(load.kept for load in pair.load().loads)


def test_a_table_that_is_locked_for_too_long_keeps_what_is_published(
    pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "LOCK_TIMEOUT_SECONDS", 1)
    blocker = psycopg2.connect(pair.admin_dsn)
    try:
        blocker.cursor().execute("LOCK TABLE kept IN ACCESS EXCLUSIVE MODE")
        done = pair.load()
    finally:
        blocker.close()
    assert "is being altered or emptied" in next(load.kept for load in done.loads if load.kept)
    assert rows(pair) == {"kept": 1, "other": 2}


def test_the_steps_of_a_dag_keep_a_table_at_the_last_attempt_and_publish_the_rest(pair: Any) -> None:
    pair.sql("INSERT INTO kept VALUES (2, 'infinity')")
    run = begin(pair.settings, run_key="dag/keep", tables=None, full_refresh=False)
    with pair.held(run):
        kept, other = load_tables(pair.settings, run=run, targets=["kept", "other"], attempt=1, last_attempt=False)
    assert "infinity" in kept.kept and not other.kept
    assert [table.target for table in publish(pair.settings, run=run).tables] == ["other"]
    assert run_of(pair, run).status == "success" and "infinity" in run_of(pair, run).error


def test_a_publish_beside_a_kept_table_that_was_cut_is_finished_and_says_what_was_kept(pair: Any) -> None:
    pair.sql("INSERT INTO kept VALUES (2, 'infinity')")
    run = begin(pair.settings, run_key="dag/cut", tables=None, full_refresh=False)
    with pair.held(run):
        load_tables(pair.settings, run=run, targets=["kept", "other"], attempt=1)
    with Warehouse(pair.settings.warehouse) as warehouse:
        open_journal(warehouse, ops.find_run(warehouse, run))
    assert recover(pair.settings, holder="cli/tests").published == ("other",)
    assert rows(pair) == {"kept": 1, "other": 2}
    assert run_of(pair, run).status == "success" and "infinity" in run_of(pair, run).error


def test_what_a_repetition_may_help_is_repeated_before_the_table_is_kept(
    pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(pair.settings, run_key="dag/again", tables=None, full_refresh=False)
    with pair.held(run):
        monkeypatch.setattr(source, "LOCK_TIMEOUT_SECONDS", 1)
        blocker = psycopg2.connect(pair.admin_dsn)
        try:
            # It waits for the holder, and the load behind it.
            waiting = threading.Thread(target=_lock, args=(blocker,))
            waiting.start()
            pair.until_locked_out("kept")
            with pytest.raises(PipelineError, match="run again"):
                load_tables(pair.settings, run=run, targets=["kept"], attempt=1, last_attempt=False)
            (kept,) = load_tables(pair.settings, run=run, targets=["kept"], attempt=2, last_attempt=True)
            assert kept.kept
        finally:
            blocker.cancel()
            waiting.join()
            blocker.close()


def test_a_table_that_could_not_be_locked_is_not_read_by_a_later_load(pair: Any) -> None:
    pair.sql(f"REVOKE SELECT ON kept FROM {READER}")
    run = begin(pair.settings, run_key="dag/locked", tables=None, full_refresh=False)
    with pair.held(run):
        # What it held at the instant of the run, nobody knows any more.
        pair.sql(f"GRANT SELECT ON kept TO {READER}", "TRUNCATE kept")
        (kept,) = load_tables(pair.settings, run=run, targets=["kept"], attempt=1)
        load_tables(pair.settings, run=run, targets=["other"], attempt=1)
    assert "permission denied" in kept.kept
    publish(pair.settings, run=run)
    assert rows(pair) == {"kept": 1, "other": 2}


def _lock(blocker: Any) -> None:
    with contextlib.suppress(psycopg2.errors.QueryCanceled):
        blocker.cursor().execute("LOCK TABLE kept IN ACCESS EXCLUSIVE MODE")
