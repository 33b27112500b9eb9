"""scripts/add_table: one command from a table of the source to rows in raw and a view that dbt builds."""

import contextlib
import hashlib
import io
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from elt.cli import add_table
from elt.planning.plan import read_plan
from elt.runs.whole_run import Listener, load_everything
from warehouse.quoting import quote

QUIET = Listener(step=lambda _: None, progress=lambda _: None)


@pytest.fixture
def project(repo: Path, tmp_path: Path) -> Path:
    """A dbt project with the settings of ours, and no model."""
    folder = tmp_path / "dbt"
    folder.mkdir()
    for name in ("dbt_project.yml", "profiles.yml"):
        (folder / name).write_text((repo / "dbt" / name).read_text())
    shutil.copytree(repo / "dbt/macros", folder / "macros")
    (folder / "models").mkdir()
    return folder


def add(shop: Any, project: Path, *arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(shop.environment)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = add_table.main(["--dbt", str(project), *arguments])
    finally:
        os.environ.clear()
        os.environ.update(before)
    return code, out.getvalue(), err.getvalue()


def build(project: Path, venvs: Path, clickhouse: Any) -> None:
    dbt(project, venvs, clickhouse, "build")


def dbt(project: Path, venvs: Path, clickhouse: Any, *words: str) -> str:
    folders = ["--project-dir", str(project), "--profiles-dir", str(project)]
    done = subprocess.run(
        [str(venvs / "dbt/bin/dbt"), "--quiet", *words, *folders],
        env={"PATH": os.environ["PATH"], "HOME": str(project), "SAMPLE_SHOP": "false", **clickhouse.env("dbt")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_a_table_and_all_tables_come_from_the_source_to_views(
    shop: Any, project: Path, venvs: Path, clickhouse: Any
) -> None:
    shop.sql(
        "CREATE TABLE orders (id int PRIMARY KEY, updated_at timestamptz NOT NULL DEFAULT now())",
        'CREATE TABLE "Gift Cards" ("Card No" text PRIMARY KEY, "card-no" text, "ünï" int, "select" text)',
        'COMMENT ON TABLE "Gift Cards" IS \'Cards: "sold" here\'',
        "INSERT INTO orders VALUES (1), (2)",
        "INSERT INTO \"Gift Cards\" VALUES ('a', 'b', 1, 'c')",
    )
    shop.tables("public.orders")
    shop.settings.elt_pipeline.write_text(shop.settings.elt_pipeline.read_text() + "# the end\n")
    code, out, err = add(shop, project, "Gift Cards", "--mask", "card-no")
    assert code == 0 and "has 1 rows" in out, err
    text = shop.settings.elt_pipeline.read_text()
    assert text.endswith('      - {name: "public.Gift Cards", mask: ["card-no"]}\n# the end\n')
    planned = read_plan(shop.settings.elt_plan, shop.settings.elt_pipeline)
    assert [table.target for table in planned[0].tables] == ["orders", "Gift Cards"]
    shop.load()
    code, out, err = add(shop, project, "--all")
    assert code == 0 and "1 staging views written, 1 were there already" in out, err
    build(project, venvs, clickhouse)
    views = shop.warehouse("SELECT name FROM system.tables WHERE database = 'analytics_dev' AND name LIKE 'stg_%'")
    assert {"stg_gift_cards", "stg_orders"} <= {row[0] for row in views}
    (row,) = shop.warehouse("SELECT * EXCEPT (card_no_2, loaded_at) FROM analytics_dev.stg_gift_cards")
    assert row == ("a", 1, "c")
    for view in ("stg_gift_cards", "stg_orders"):
        shop.admin_client.command(f"DROP VIEW analytics_dev.{view}")


HOSTILE = (
    "{{ this }}", "{% if user %} hello", "{# note #}", "{{{%", "{% endraw %}", "a'b", 'c"d', "e\\f", "g`h", "i\nj", "%(x)s %", "{{ 'k' }}",
    "}} l {{", "-- m", "/* n", "${o}", "p;q", "ünï ☃", "select", "1st", "loaded_at", "{{ source('raw', 'x') }}",
)  # fmt: skip


def test_hostile_names_and_comments_are_text_to_dbt(shop: Any, project: Path, venvs: Path, clickhouse: Any) -> None:
    """dbt is the judge: the whole project compiles, each view is built and tested, and has the columns of `raw`."""

    def quoted(name: str) -> str:
        return '"' + name.replace('"', '""') + '"'

    def literal(text: str) -> str:
        return "'" + text.replace("'", "''") + "'"

    for number, name in enumerate(HOSTILE):
        others = [HOSTILE[(number + step) % len(HOSTILE)] for step in (1, 2, 3)]
        columns = ", ".join(f"{quoted(other)} text" for other in others)
        shop.sql(
            f"CREATE TABLE {quoted(name)} (id int PRIMARY KEY, {columns})",
            f"COMMENT ON TABLE {quoted(name)} IS {literal(others[0])}",
            f"COMMENT ON COLUMN {quoted(name)}.{quoted(others[1])} IS {literal(' '.join(HOSTILE))}",
            f"INSERT INTO {quoted(name)} VALUES ({number}, 'a', NULL, 'c')",
        )
    shop.settings.elt_pipeline.write_text("sources:\n  - name: own\n    kind: postgres\n    tables: all\n")
    shop.load()
    code, out, err = add(shop, project, "--all")
    assert code == 0 and f"{len(HOSTILE)} staging views written" in out, err
    build(project, venvs, clickhouse)
    try:
        for number, name in enumerate(HOSTILE):
            (view,) = [file.stem for file in project.rglob("stg_*.sql") if reads(file, name)]
            raw = shop.warehouse(f"SELECT tuple(* EXCEPT (_elt_run, _elt_loaded_at)) FROM raw.{quote(name)}")
            assert shop.warehouse(f"SELECT tuple(* EXCEPT loaded_at) FROM analytics_dev.{view}") == raw
            assert raw == [((number, "a", None, "c"),)]
    finally:
        for file in project.rglob("stg_*.sql"):
            shop.admin_client.command(f"DROP VIEW IF EXISTS analytics_dev.{file.stem}")


def reads(file: Path, name: str) -> bool:
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    return f"source('raw', '{escaped}')" in file.read_text()


def test_tables_named_as_the_sample_s_or_alike_each_get_a_view_of_their_own(
    shop: Any, repo: Path, tmp_path: Path, venvs: Path, clickhouse: Any
) -> None:
    project = tmp_path / "whole"
    shutil.copytree(repo / "dbt", project, ignore=shutil.ignore_patterns("target", "logs"))
    names = ("orders", '"Orders"', '"ORDERS!"', '"or-ders"', "or_ders", "customers", "products")
    shop.sql(*(f"CREATE TABLE {name} (id int PRIMARY KEY)" for name in names))
    shop.settings.elt_pipeline.write_text("sources:\n  - name: own\n    kind: postgres\n    tables: all\n")
    shop.load()
    shop = replace(shop, environment=shop.environment | {"SAMPLE_SHOP": "false"})
    code, out, err = add(shop, project, "--all")
    assert code == 0 and "7 staging views written, 0 were there already" in out, err
    written = {file.stem for file in (project / "models/staging/own").glob("*.sql")}
    marks = {f"stg_own__orders_{hashlib.sha256(name.encode()).hexdigest()[:6]}" for name in ("Orders", "ORDERS!")}
    assert written == marks | {
        "stg_own__orders",
        "stg_or_ders",
        "stg_own__or_ders",
        "stg_own__customers",
        "stg_own__products",
    }
    assert "0 staging views written, 7 were there already" in add(shop, project, "--all")[1]
    build(project, venvs, clickhouse)
    for name in written:
        assert shop.warehouse(f"SELECT count() FROM analytics_dev.{name}") == [(0,)]
        shop.admin_client.command(f"DROP VIEW analytics_dev.{name}")


def test_tables_of_a_further_source_stand_in_a_dbt_source_of_its_name(
    shop: Any, project: Path, venvs: Path, clickhouse: Any
) -> None:
    shop.sql("CREATE TABLE targets (id int PRIMARY KEY)", "INSERT INTO targets VALUES (1), (2)")
    shop.settings.elt_pipeline.write_text(
        "sources:\n"
        "  - {name: shop, kind: postgres, tables: [{name: public.targets}]}\n"
        "  - {name: Erp_1, kind: postgres, url: {env: SOURCE_URL}, tables: [{name: public.targets}]}\n"
    )
    for source in ("shop", "Erp_1"):
        load_everything(shop.settings, QUIET, source=source)
    code, out, err = add(shop, project, "--all")
    assert code == 0 and "2 staging views written" in out, err
    selected = dbt(project, venvs, clickhouse, "ls", "--select", "source:Erp_1+", "--resource-type", "model")
    assert selected.split() == ["ecommerce.staging.own.stg_erp_1_targets"]
    build(project, venvs, clickhouse)
    try:
        assert shop.warehouse("SELECT count() FROM analytics_dev.stg_erp_1_targets") == [(2,)]
        code, out, err = add(shop, project, "--all")
        assert code == 0 and "0 staging views written, 2 were there already" in out, err
    finally:
        for view in ("stg_targets", "stg_erp_1_targets"):
            shop.admin_client.command(f"DROP VIEW IF EXISTS analytics_dev.{view}")


def test_a_second_time_changes_nothing(shop: Any, project: Path) -> None:
    shop.sql("CREATE TABLE orders (id int PRIMARY KEY)")
    shop.tables("public.orders")
    assert add(shop, project, "orders")[0] == 0
    model = next(project.rglob("stg_orders.sql"))
    model.write_text("-- mine\n")
    before = shop.settings.elt_pipeline.read_text()
    assert add(shop, project, "public.orders")[0] == 0
    assert shop.settings.elt_pipeline.read_text() == before and model.read_text() == "-- mine\n"


def test_an_incremental_table_is_written_as_such(shop: Any, project: Path) -> None:
    shop.sql("CREATE TABLE a (id int PRIMARY KEY)", "CREATE TABLE orders (id int PRIMARY KEY, at timestamptz, n int)")
    shop.tables("public.a")
    code, _, err = add(shop, project, "orders", "--cursor", "n")
    assert code == 1 and "lookback" in err and "orders" not in shop.settings.elt_pipeline.read_text()
    code, _, err = add(shop, project, "orders", "--cursor", "at", "--lookback", "2h")
    assert code == 0, err
    assert (
        "{name: public.orders, mode: incremental, cursor: at, lookback: 2h}" in shop.settings.elt_pipeline.read_text()
    )


def test_what_is_not_there_is_told_and_nothing_is_written(shop: Any, project: Path) -> None:
    shop.sql("CREATE TABLE a (id int PRIMARY KEY)")
    shop.tables("public.a")
    pipeline, files = shop.settings.elt_pipeline.read_text(), set(project.rglob("*"))
    code, _, err = add(shop, project, "nothing")
    assert code == 1 and "no table public.nothing" in err
    assert shop.settings.elt_pipeline.read_text() == pipeline
    assert set(project.rglob("*")) == files


def test_the_module_is_a_command(shop: Any) -> None:
    """scripts/add_table runs it by its name, natively and in containers."""
    command = [sys.executable, "-m", "elt.cli.add_table", "--help"]
    said = subprocess.run(command, env=shop.environment, capture_output=True, text=True, check=True).stdout
    assert "usage: scripts/add_table" in said
    for script in ("scripts/add_table", "scripts/docker.sh"):
        assert "-m elt.cli.add_table" in (shop.repo / script).read_text()
