"""The project linter's own rules: each finds what it is there for."""

import json
import os
import shutil
import subprocess
from pathlib import Path

WRONG_MODEL = """\
{{ config(materialized='table') }}
select order_id, total_amount as revenue, 1 as one from {{ source('raw', 'orders') }}
"""
WRONG = """\
models:
  - name: sales_summary
    description: Sales.
    columns: [{name: order_id}, {name: revenue, description: Money.}]
  - name: stg_both
    description: One row for each order.
snapshots:
  - name: orders_history
    relation: ref('stg_orders')
    config: {strategy: timestamp, unique_key: order_id, updated_at: updated_at}
sources:
  - name: other
    tables: [{name: unknown}]
exposures:
  - name: nobodys
    type: dashboard
    owner: {email: nobody@example.com}
"""


def test_every_rule_of_the_project_finds_its_violation(repo: Path, venvs: Path, tmp_path: Path) -> None:
    project = tmp_path / "dbt"
    shutil.copytree(repo / "dbt", project, ignore=shutil.ignore_patterns("target", "logs"))
    shutil.copy(repo / "pyproject.toml", tmp_path)
    (project / "models/marts/sales_summary.sql").write_text(WRONG_MODEL)
    (project / "models/marts/wrong.yml").write_text(WRONG)
    (project / "models/staging/stg_both.sql").write_text(
        "select 1 as one from {{ source('raw', 'orders') }} cross join {{ ref('stg_customers') }}\n"
    )
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CLICKHOUSE_DBT_PASSWORD": "x"}
    places = ["--project-dir", project, "--profiles-dir", project, "--target-path", tmp_path, "--log-path", tmp_path]
    dbt = [venvs / "dbt/bin/dbt", "--quiet", "parse", *places]
    parsed = subprocess.run(dbt, env=environ, capture_output=True, text=True, timeout=120)
    assert parsed.returncode == 0, parsed.stdout
    lint = [venvs / "tests/bin/dbt-score", "lint", "--manifest", tmp_path / "manifest.json", "--format", "json"]
    result = subprocess.run(lint, cwd=project, env=environ, capture_output=True, text=True, timeout=120)
    assert result.returncode == 1, result.stderr
    found = json.loads(result.stdout)["evaluables"]
    broken: dict[str, set[str]] = {}
    for name, item in found.items():
        for rule, outcome in item["results"].items():
            if outcome["result"] != "OK":
                broken.setdefault(rule.rpartition(".")[2], set()).add(name.rpartition(".")[2])
    assert broken == {
        "name_says_the_layer": {"sales_summary"},
        "description_tells_the_grain": {"sales_summary"},
        "columns_have_description": {"sales_summary"},
        "has_a_tested_key": {"sales_summary", "stg_both"},
        "has_owner": {"sales_summary", "stg_both"},
        "only_staging_reads_sources": {"sales_summary", "stg_both"},
        "mart_says_why_it_is_stored_so": {"sales_summary"},
        "money_says_gross_or_net": {"sales_summary"},
        "history_is_described_and_tested": {"orders_history"},
        "source_is_described_and_kept_fresh": {"unknown"},
        "exposure_has_an_owner": {"nobodys"},
    }
