"""The password that dbt has for the warehouse stays in the environment: no file, no record and no answer has it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from testing.waiting import until

# The materialization dictionary of dbt-clickhouse writes user and password into the statement that creates one.
DICTIONARY = """
{{{{ config(materialized='dictionary', primary_key='id', layout='flat()', lifetime='1',
    fields=[('id', 'UInt64'), ('name', 'String')]{more}) }}}}
select 1 as id, 'a' as name
"""


@pytest.mark.parametrize("more", ["", ", table='product_names', connection_overrides={'user': 'dbt'}"])
def test_a_dictionary_is_refused_before_its_statement_has_the_password(
    make_webhook: Callable[..., Any], clickhouse: Any, project: Path, tmp_path: Path, more: str
) -> None:
    own = tmp_path / "dbt"
    shutil.copytree(project, own)
    (own / "models/marts/product_names.sql").write_text(DICTIONARY.format(more=more))
    webhook = make_webhook(DBT_PROJECT_DIR=str(own))
    webhook.start_web()
    webhook.start_worker()
    run = webhook.post("product_names", "quick", wait=60)
    record = "SELECT * FROM ops.dbt_runs FINAL WHERE id = {id:String} AND status = 'error'"
    nodes = "SELECT * FROM ops.dbt_nodes FINAL WHERE run_id = {id:String}"
    with clickhouse.client() as admin:
        until(lambda: admin.query(record, {"id": run["id"]}).result_rows, "ops has the end")
        told = [str(run), webhook.call("GET", run["logs_url"]).text]
        told += [str(admin.query(sql, {"id": run["id"]}).result_rows) for sql in (record, nodes)]
    password = clickhouse.passwords["dbt"]
    files = [file for folder in (webhook.home, own) for file in folder.rglob("*") if file.is_file()]
    assert webhook.home / "target/compiled/ecommerce/models/marts/product_names.sql" in files
    assert [str(file) for file in files if password.encode() in file.read_bytes()] == []
    assert [text for text in told if password in text] == []
    assert run["status"] == "error"
    assert "product_names is materialized as a dictionary" in run["error"] and "as table" in run["error"]
