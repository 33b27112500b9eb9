"""Connections for DAGs of people: made of the environment, one for each Postgres source and one for the warehouse."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PIPELINE = """
sources:
  - {name: shop, kind: postgres, tables: [{name: public.orders}]}
  - {name: erp, kind: postgres, url: {env: ERP_URL}, tables: [{name: public.targets}]}
"""


@pytest.fixture
def read(airflow_python: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    pipeline = tmp_path / "pipeline.yml"
    pipeline.write_text(PIPELINE)

    def of(*ids: str, **environment: str) -> dict[str, Any]:
        process = airflow_python(
            "read_connections.py",
            *ids,
            ELT_PIPELINE=str(pipeline),
            AIRFLOW__WORKERS__SECRETS_BACKEND="elt_airflow.connections.StackConnections",
            **environment,
        )
        out, err = process.communicate(timeout=300)
        assert out, err
        return {**json.loads(out.strip().splitlines()[-1]), "log": out + err}

    return of


def test_each_source_has_a_connection_of_its_name(read: Callable[..., dict[str, Any]]) -> None:
    found = read(
        "shop",
        "erp",
        SOURCE_URL="postgresql://elt_reader:p%40ss@shop.example:5433/ecommerce_db?sslmode=require",
        ERP_URL="postgresql://reader:word@one:1111,two:2222/erp",
    )
    assert found["shop"] == {
        "conn_type": "postgres",
        "host": "shop.example",
        "port": 5433,
        "login": "elt_reader",
        "password": "p@ss",
        "schema": "ecommerce_db",
        "extra": {"sslmode": "require"},
    }
    assert (found["erp"]["host"], found["erp"]["port"], found["erp"]["extra"]) == (
        "one,two",
        None,
        {"port": "1111,2222"},
    )


def test_warehouse_has_a_connection_that_reads_the_marts(read: Callable[..., dict[str, Any]]) -> None:
    found = read(
        "warehouse",
        CLICKHOUSE_HOST="ch.example",
        CLICKHOUSE_HTTP_PORT="8443",
        CLICKHOUSE_SECURE="true",
        CLICKHOUSE_AIRFLOW_PASSWORD="word",
    )
    assert found["warehouse"] == {
        "conn_type": "clickhouse",
        "host": "ch.example",
        "port": 8443,
        "login": "airflow",
        "password": "word",
        "schema": "analytics",
        "extra": {"secure": True},
    }


def test_other_ids_and_a_source_without_address_have_none(read: Callable[..., dict[str, Any]]) -> None:
    found = read("other", "erp")
    assert (found["other"], found["erp"]) == (None, None)
    assert "ERP_URL, its address in pipeline.yml, is not set" in found["log"]
