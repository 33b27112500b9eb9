"""Files as a source of runs: published with everything else, read again when they have changed, verified, and staged."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from elt.cli import add_table
from elt.runs.run import begin, load_table, publish
from warehouse.errors import PipelineError, TerminalError

TARGETS = "month,target\n2026-01-01,1000.50\n2026-02-01,1200\n"


@pytest.fixture
def folder(shop: Any, tmp_path: Path) -> Path:
    found = tmp_path / "plan"
    found.mkdir()
    (found / "targets-1.csv").write_text(TARGETS)
    return found


def pipeline(shop: Any, folder: Path, *tables: str) -> None:
    lines = "".join(f"  - {{{table}}}\n" for table in tables)
    text = f"sources:\n- name: plan\n  kind: files\n  url: file://{folder}\n  tables:\n{lines}"
    shop.settings.elt_pipeline.write_text(text)


def _deep(file: Path) -> None:
    file.write_text('{"month": ' + "[" * 600 + "]" * 600 + "}\n")


def modes(done: Any) -> dict[str, tuple[str, int]]:
    return {load.target: (load.mode, load.rows) for load in done.loads}


def test_files_are_published_and_read_again_when_they_have_changed(shop: Any, folder: Path) -> None:
    pipeline(shop, folder, "name: targets, path: 'targets-*.csv', order_by: [month]")
    done = shop.load(verify=True)
    (load,) = done.loads
    assert modes(done) == {"plan__targets": ("full", 2)} and load.verified_columns == ("month", "target")
    query = "SELECT toString(month), toString(target), toTypeName(target) FROM raw.plan__targets ORDER BY month"
    assert shop.warehouse(query) == [
        ("2026-01-01", "1000.5", "Decimal(18, 2)"),
        ("2026-02-01", "1200", "Decimal(18, 2)"),
    ]
    # Nothing is read of files that are as they were; the table is published all the same.
    run = shop.warehouse("SELECT DISTINCT _elt_run FROM raw.plan__targets")
    done = shop.load()
    assert modes(done) == {"plan__targets": ("unchanged", 0)} and done.published.tables[0].rows == 2
    assert shop.warehouse("SELECT DISTINCT _elt_run FROM raw.plan__targets") == run
    assert modes(shop.load(full_refresh=True)) == {"plan__targets": ("full", 2)}
    assert modes(shop.load(verify=True)) == {"plan__targets": ("unchanged", 0)}
    # The same size, and another digit.
    (folder / "targets-1.csv").write_text(TARGETS.replace("1000.50", "1000.51"))
    assert modes(shop.load()) == {"plan__targets": ("full", 2)}
    (folder / "targets-2.csv").write_text("month,target\n2026-03-01,0.125\n")
    done = shop.load()
    assert modes(done) == {"plan__targets": ("full", 3)}
    assert [row[1] for row in shop.warehouse(query)] == ["1000.51", "1200", "0.125"]
    (folder / "targets-1.csv").unlink()
    done = shop.load()
    assert modes(done) == {"plan__targets": ("full", 1)}
    assert "targets-1.csv had rows of plan.targets and is not there any more" in done.loads[0].note
    code, out, err = shop.command("verify", "--published")
    assert code == 0 and "1 rows of 1 tables are as the source has them now, 2 columns" in out, out + err


def test_a_changed_value_in_raw_is_found(shop: Any, folder: Path) -> None:
    pipeline(shop, folder, "name: targets, path: 'targets-*.csv'")
    shop.load()
    shop.admin_client.command(
        "ALTER TABLE raw.plan__targets UPDATE target = 1000.51 WHERE target = 1000.5", settings={"mutations_sync": 2}
    )
    code, out, _ = shop.command("verify", "--published")
    assert code == 1 and "other values in target" in out


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda file: file.write_text(TARGETS + "2026-03-01\n"), "targets-1.csv, line 4"),
        (lambda file: file.unlink(), "no file in .* matches"),
        (lambda file: _deep(file.with_name("targets-2.jsonl")), "targets-2.jsonl, line 1: month is nested too deeply"),
        (
            lambda file: pq.write_table(
                pa.table({"month": pa.array([10**14], pa.timestamp("s"))}), file.with_name("targets-2.parquet")
            ),
            "targets-2.parquet, line 1: month is .*, which is too far away",
        ),
    ],
    ids=["broken", "vanished", "deep", "far"],
)
def test_what_cannot_be_read_leaves_what_is_published(
    shop: Any, folder: Path, spoil: Callable[[Path], None], words: str
) -> None:
    pipeline(shop, folder, "name: targets, path: 'targets-*'")
    shop.load()
    spoil(folder / "targets-1.csv")
    with pytest.raises(TerminalError, match=words):
        shop.load()
    assert shop.warehouse("SELECT count() FROM raw.plan__targets") == [(2,)]
    left = "SELECT count() FROM system.tables WHERE database = 'raw' AND name LIKE '%\\_\\_loading\\_%'"
    assert shop.warehouse(left) == [(0,)]
    (folder / "b.csv").write_text("a\n1\n")
    pipeline(shop, folder, "name: targets, path: 'targets-*', on_error: keep", "name: b, path: b.csv")
    done = shop.load()
    assert [table.target for table in done.published.tables] == ["plan__b"]
    assert next(load.kept for load in done.loads if load.target == "plan__targets")


def test_broken_lines_are_a_table_of_the_same_run(shop: Any, folder: Path) -> None:
    pipeline(shop, folder, "name: targets, path: 'targets-*.csv', rejects: table")
    assert modes(shop.load()) == {"plan__targets": ("full", 2), "plan__targets__rejects": ("full", 0)}
    (folder / "targets-2.csv").write_text("month,target\n2026-03-01,1,2\n2026-04-01,7\n")
    done = shop.load(verify=True)
    assert modes(done) == {"plan__targets": ("full", 3), "plan__targets__rejects": ("full", 1)}
    ((file, line, text),) = shop.warehouse("SELECT file, line, text FROM raw.plan__targets__rejects")
    assert (file, line, text) == ("targets-2.csv", 2, "2026-03-01,1,2")


def test_a_file_that_changes_between_the_instant_and_the_load_stops_the_run(shop: Any, folder: Path) -> None:
    pipeline(shop, folder, "name: targets, path: 'targets-*.csv'")
    run = begin(shop.settings, run_key="dag/files", tables=None, full_refresh=False)
    with shop.held(run):
        (folder / "targets-1.csv").write_text(TARGETS.replace("1200", "1300"))
        with pytest.raises(TerminalError, match="has changed since the run began"):
            load_table(shop.settings, run=run, target="plan__targets", attempt=1)
    with pytest.raises(PipelineError, match="has not loaded"):
        publish(shop.settings, run=run)


def test_a_table_of_files_is_checked_planned_and_staged(shop: Any, folder: Path, tmp_path: Path, repo: Path) -> None:
    pipeline(shop, folder, "name: targets, path: 'targets-*.csv'")
    code, out, err = shop.command("check")
    assert code == 0 and "raw.plan__targets" in out and "Decimal(18, 2)" in out, out + err
    code, out, err = shop.command("plan")
    assert code == 0 and "targets -> raw.plan__targets (full)" in out, out + err
    dbt = tmp_path / "dbt"
    (dbt / "models").mkdir(parents=True)
    with patch.dict(os.environ, shop.environment):
        assert add_table.main(["plan__targets", "--dbt", str(dbt)]) == 0
    (sql,) = (dbt / "models").rglob("stg_*.sql")
    assert "source('plan', 'targets')" in sql.read_text() and "        target," in sql.read_text()
