"""Provisioning: once, quickly when nothing changed, again when something did, and without leaving secrets behind."""

import dataclasses
import shutil
import time
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2 import sql


def test_a_second_time_it_does_nothing_and_is_quick(superset: Any) -> None:
    started = time.monotonic()
    again = superset.provision()
    seconds = time.monotonic() - started
    assert again.returncode == 0, again.stderr
    assert "Nothing changed" in again.stdout
    # Importing Superset alone takes longer than this.
    assert seconds < 2


def test_no_secret_is_in_the_metadata_database(superset: Any, api: Any) -> None:
    assert api.sql("SELECT 1").status_code == 200
    refused = api.sql("SELECT * FROM raw.superset_test_secret")
    # What went wrong is said, and kept in the table of queries; where the warehouse is, is not.
    assert refused.status_code >= 400 and "ACCESS_DENIED" in refused.text
    hidden = {name: value for name, value in superset.env.items() if name.endswith(("PASSWORD", "SECRET_KEY"))}
    assert len(hidden) == 6
    address = f"{superset.env['CLICKHOUSE_HOST']}:{superset.env['CLICKHOUSE_HTTP_PORT']}"
    connection = psycopg2.connect(superset.dsn)
    with connection, connection.cursor() as cur:
        cur.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        tables = [name for (name,) in cur.fetchall()]
        assert "dbs" in tables and len(tables) > 50
        for table in tables:
            cur.execute(sql.SQL("SELECT t::text FROM {} AS t").format(sql.Identifier(table)))
            content = "\n".join(row for (row,) in cur.fetchall())
            for name, value in hidden.items():
                assert value not in content, f"{name} stands in table {table}"
            assert address not in content, f"the warehouse's address stands in table {table}"
        cur.execute("SELECT sqlalchemy_uri, password, allow_dml, expose_in_sqllab FROM dbs")
        assert sorted(cur.fetchall()) == [
            ("clickhousedb://superset@warehouse/analytics", None, False, True),
            ("clickhousedb://superset_operations@warehouse/ops", None, False, True),
        ]
    connection.close()


def test_no_secret_is_in_superset_home(superset: Any) -> None:
    hidden = [value for name, value in superset.env.items() if name.endswith(("PASSWORD", "SECRET_KEY"))]
    for file in Path(superset.env["SUPERSET_HOME"]).rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert not any(value.encode() in content for value in hidden), file


def test_a_changed_admin_password_is_set_and_nothing_else_is_overwritten(superset: Any) -> None:
    connection = psycopg2.connect(superset.dsn)
    connection.autocommit = True
    with connection.cursor() as cur:
        cur.execute("UPDATE dbs SET cache_timeout = 77")
    changed = superset.provision(SUPERSET_ADMIN_PASSWORD="changed-in-env")
    assert changed.returncode == 0, changed.stderr
    assert "because of: admin." in changed.stdout
    assert superset.login("changed-in-env").status_code == 200
    assert superset.login().status_code == 401
    with connection.cursor() as cur:
        cur.execute("SELECT cache_timeout FROM dbs")
        assert cur.fetchall() == [(77,)] * 2, "a hand edit survives"
    back = superset.provision("--force")
    assert back.returncode == 0, back.stderr
    assert superset.login().status_code == 200
    with connection.cursor() as cur:
        cur.execute("SELECT cache_timeout FROM dbs")
        assert cur.fetchall() == [(None,)] * 2, "--force returns to the files"
    connection.close()


def test_the_shop_s_datasets_are_there_and_show_its_currency(api: Any) -> None:
    found = {row["table_name"]: row["id"] for row in api.get("/api/v1/dataset/").json()["result"]}
    assert {"fact_sales", "agg_sales_by_state"} <= set(found)
    dataset = api.get(f"/api/v1/dataset/{found['fact_sales']}").json()["result"]
    revenue = next(metric for metric in dataset["metrics"] if metric["metric_name"] == "sales_net_revenue")
    assert revenue["currency"] == {"symbol": "USD", "symbolPosition": "prefix"}


def test_a_broken_asset_fails_with_its_file_and_field_and_changes_nothing(superset: Any, tmp_path: Path) -> None:
    copy = tmp_path / "superset"
    shutil.copytree(superset.repo / "superset", copy, ignore=shutil.ignore_patterns("__pycache__"))
    chart = copy / "assets/shop/charts/broken.yaml"
    chart.parent.mkdir(exist_ok=True)
    chart.write_text(
        "uuid: 2c0c33c5-7d0c-4b0c-9d5e-1c1f6f3f0a10\nversion: 1.0.0\nviz_type: table\ndataset_uuid: 0f8f4c58-7a0e-4f0b-8a1c-52d40b3a7c01\n"
    )
    refused = dataclasses.replace(superset, repo=tmp_path).provision()
    assert refused.returncode == 1
    assert "charts/broken.yaml: slice_name: Missing data" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert "Nothing changed" in superset.provision().stdout, "the stamp is that of the files that were imported"


def test_the_running_server_deletes_events_and_queries_after_ninety_days(pruned: Any) -> None:
    """The fixture of the server wrote rows of 89 and of 91 days before it started."""
    assert pruned == [["superset_test_89"], ["test_89"]]


def test_datasets_on_ops_of_a_stack_with_one_connection_move_to_operations(
    superset: Any, api: Any, pruned: Any
) -> None:
    """Charts on them answer on, hand-made datasets included, and what cannot move is named."""
    found = api.get("/api/v1/dataset/?q=(page_size:100)").json()["result"]
    before = {row["table_name"]: row["id"] for row in found if row["schema"] == "ops"}
    hand = {"database": api.database_id("Operations"), "schema": "ops", "table_name": "superset_test_secret"}
    joined = {
        "database": api.database_id(), "schema": "analytics", "table_name": "superset_test_joined", "sql": "SELECT 1 AS one"
    }  # fmt: skip
    made, other = (api.post("/api/v1/dataset/", dataset).json()["id"] for dataset in (hand, joined))
    connection = psycopg2.connect(superset.dsn)
    connection.autocommit = True
    with connection.cursor() as cur:
        # As the version before left it.
        cur.execute("UPDATE tables SET database_id = (SELECT id FROM dbs WHERE database_name = 'Warehouse')")
        cur.execute("DELETE FROM query WHERE database_id = (SELECT id FROM dbs WHERE database_name = 'Operations')")
        cur.execute("DELETE FROM dbs WHERE database_name = 'Operations'")
        cur.execute("UPDATE tables SET sql = 'SELECT run FROM superset_test_days, Ops .runs' WHERE id = %s", (other,))
    connection.close()
    try:
        done = superset.provision("--force")
        assert done.returncode == 0, done.stderr
        assert "Moving dataset superset_test_secret to database Operations" in done.stdout
        assert "Dataset superset_test_joined reads ops in its SQL" in done.stdout
        found = api.get("/api/v1/dataset/?q=(page_size:100)").json()["result"]
        after = {row["table_name"]: row["id"] for row in found if row["database"]["database_name"] == "Operations"}
        assert after == before | {"superset_test_secret": made}
        charts = {row["slice_name"]: row["id"] for row in api.get("/api/v1/chart/?q=(page_size:100)").json()["result"]}
        answer = api.get(f"/api/v1/chart/{charts['Now']}/data/?force=true")
        assert answer.status_code == 200, answer.text
    finally:
        for dataset in (made, other):
            api.delete(f"/api/v1/dataset/{dataset}")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SUPERSET_ADMIN_PASSWORD", "", "SUPERSET_ADMIN_PASSWORD is not set"),
        ("CLICKHOUSE_HTTP_PORT", "eighty", "CLICKHOUSE_HTTP_PORT: input should be a valid integer"),
        ("SUPERSET_DB_PORT", "1", "metadata database 127.0.0.1:1/superset cannot be reached"),
        ("SUPERSET_DB_PASSWORD", "wrong", "cannot be reached"),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(superset: Any, name: str, value: str, said: str) -> None:
    refused = superset.provision(**{name: value})
    assert refused.returncode == 1
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr
