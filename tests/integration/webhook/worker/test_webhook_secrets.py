"""The password that dbt has for the warehouse stays in the environment: no file, no record and no answer has it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from testing.secrets import secret_names
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


# What a model prints, and what it is refused for, come by two ways: as an event of dbt, and as the message of a node.
TELLTALE = """
{{% for secret in {secrets} %}}{{% do log("it said " ~ secret, info=true) %}}{{% endfor %}}
{{% do log("dbt has " ~ env_var("CLICKHOUSE_DBT_PASSWORD"), info=true) %}}
select throwIf(1, '{last}') as one
"""


def test_dbts_process_has_no_secret_of_the_worker_but_its_own_password(
    make_webhook: Callable[..., Any], clickhouse: Any
) -> None:
    webhook = make_webhook(WEBHOOK_SIGNING_SECRET=f"whsec_{'C' * 32}")
    worker = psutil.Process(webhook.start_worker().pid)
    until(worker.children, "the worker has started dbt's process", said=webhook.log)
    until(lambda: worker.children()[0].environ().get("HOME") == str(webhook.home), "it has its own environment")
    environment = worker.children()[0].environ()
    assert environment["CLICKHOUSE_DBT_PASSWORD"] == clickhouse.password("dbt")
    assert clickhouse.password("webhook") in worker.environ().values()
    assert set(secret_names("webhook-worker").split(",")) & set(environment) == {"CLICKHOUSE_DBT_PASSWORD"}
    assert clickhouse.password("webhook") not in environment.values()


def test_every_secret_of_the_worker_is_masked_in_what_is_kept_of_dbts_output(
    make_webhook: Callable[..., Any], clickhouse: Any, project: Path, tmp_path: Path
) -> None:
    own = tmp_path / "dbt"
    shutil.copytree(project, own)
    given = {
        "NOTIFY_URL": "http://127.0.0.1:9/hook-with-a-key",
        "NOTIFY_SIGNING_SECRET": f"whsec_{'A' * 32} whsec_{'B' * 32}",
        "WEBHOOK_SIGNING_SECRET": f"whsec_{'C' * 32}",
    }
    webhook = make_webhook(DBT_PROJECT_DIR=str(own), **given)
    environment = given | clickhouse.env("dbt", "webhook")
    names = secret_names("webhook-worker").split(",")
    secrets = [word for name in names for word in environment[name].split()]
    (own / "models/marts/telltale.sql").write_text(TELLTALE.format(secrets=secrets, last=secrets[-1]))
    webhook.start_web()
    webhook.start_worker()
    run = webhook.post("telltale", wait=60)
    log = webhook.call("GET", run["logs_url"]).text
    with clickhouse.client() as admin:
        nodes = "SELECT * FROM ops.dbt_nodes FINAL WHERE run_id = {id:String} AND status = 'error'"
        until(lambda: admin.query(nodes, {"id": run["id"]}).result_rows, "ops has the node")
        kept = f"{run}{log}{admin.query(nodes, {'id': run['id']}).result_rows}{webhook.log()}"
    assert run["status"] == "error" and "***" in run["error"], run
    assert log.count("it said ***") >= len(secrets) and "dbt has ***" in log
    assert [secret for secret in secrets if secret in kept] == []
