"""Ten minutes of every client at once against one warehouse: no error of any of them."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SECONDS = 600

SQLALCHEMY = """
import os, sys, time
from sqlalchemy import create_engine, inspect, text
env, end, turns = os.environ, time.monotonic() + float(sys.argv[1]), 0
engine = create_engine("clickhousedb://superset:%s@%s:%s/analytics" % (
    env["CLICKHOUSE_SUPERSET_PASSWORD"], env["CLICKHOUSE_HOST"], env["CLICKHOUSE_HTTP_PORT"]))
while time.monotonic() < end:
    with engine.connect() as connection:
        assert connection.execute(text("SELECT sum(number) FROM numbers(1000)")).scalar() == 499500
        rows = connection.execute(text("SELECT day, amount FROM superset_test_days WHERE amount > :low"), {"low": 0})
        assert len(rows.fetchall()) == 90
    assert [column["name"] for column in inspect(engine).get_columns("superset_test_days")] == ["order_date", "day", "amount"]
    turns += 1
    time.sleep(0.2)
print(turns)
"""


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 300)
def test_every_client_at_once_for_ten_minutes(
    superset: Any, api: Any, warehouse: Any, venvs: Path, repo: Path, tmp_path: Path
) -> None:
    end = time.monotonic() + SECONDS
    turns: dict[str, int] = {}
    errors: list[str] = []
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)} | warehouse.env("loader", "dbt", "superset")

    def client(name: str, turn: Callable[[], None]) -> threading.Thread:
        def work() -> None:
            turns[name] = 0
            try:
                while time.monotonic() < end and not errors:
                    turn()
                    turns[name] += 1
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what this test looks for
                errors.append(f"{name} after {turns[name]} turns: {error!r}"[:3000])

        return threading.Thread(target=work, name=name)

    def run(*command: str | Path) -> str:
        ran = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-1000:]
        return ran.stdout

    shutil.copytree(repo / "tests/integration/clickhouse/tiny_dbt", tmp_path, dirs_exist_ok=True)
    with warehouse.client("loader") as loader:
        loader.command("CREATE TABLE raw.tiny (a UInt32, s String) ENGINE = MergeTree ORDER BY a")
        loader.command("INSERT INTO raw.tiny SELECT number, toString(number) FROM numbers(100)")
        loader.command("CREATE TABLE raw.beside (a UInt32, s String) ENGINE = MergeTree ORDER BY a")
    official, written = warehouse.client("loader"), [0]

    def insert_and_read() -> None:
        first = written[0]
        official.insert("raw.beside", [[first + n, f"row {first + n}"] for n in range(1000)], column_names=["a", "s"])
        written[0] += 1000
        assert official.query("SELECT count(), max(a) FROM raw.beside").result_rows == [(written[0], written[0] - 1)]
        with official.query_rows_stream("SELECT a, s FROM raw.beside ORDER BY a DESC LIMIT 5000") as stream:
            assert next(iter(stream))[0] == written[0] - 1
        time.sleep(0.2)

    def sql_lab() -> None:
        answer = api.sql("SELECT count(*) AS days, sum(amount) AS amount FROM superset_test_days")
        assert answer.status_code == 200, answer.text
        time.sleep(0.5)

    address = f"http://{warehouse.host}:{warehouse.port}/?wait_end_of_query=1&enable_http_compression=1"
    secret = tmp_path / "curl.conf"
    secret.write_text(f'user = "superset:{warehouse.password("superset")}"\n')

    def curl() -> None:
        command = ["curl", "--silent", "--show-error", "--fail", "--compressed", "--config", secret, address]
        assert run(*command, "--data-binary", "SELECT sum(number) FROM numbers(100000)") == "4999950000\n"
        time.sleep(0.2)

    def sqlalchemy() -> None:
        left = max(end - time.monotonic(), 1)
        assert int(run(venvs / "superset/bin/python", "-c", SQLALCHEMY, str(left))) > 0

    dbt = (venvs / "dbt/bin/dbt", "--no-use-colors")

    def build_and_document() -> None:
        assert "ERROR=0 SKIP=0" in run(*dbt, "build", "--profiles-dir", ".")
        run(*dbt, "docs", "generate", "--profiles-dir", ".")

    named = {
        "clickhouse-connect": insert_and_read, "Superset": sql_lab, "curl": curl, "SQLAlchemy": sqlalchemy,
        "dbt": build_and_document,
    }  # fmt: skip
    threads = [client(name, turn) for name, turn in named.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    official.close()
    print("turns:", turns)
    assert not errors, "\n".join(errors)
    assert all(turns.values()), turns
    with warehouse.client("default") as admin:
        assert admin.command("SELECT count(), uniqExact(a) FROM raw.beside") == [str(written[0])] * 2
        for name in ("tiny", "beside"):
            admin.command(f"DROP TABLE raw.{name} SYNC")
        for (name,) in admin.query("SELECT name FROM system.tables WHERE database = 'analytics_dev'").result_rows:
            admin.command(f"DROP TABLE analytics_dev.`{name}` SYNC")
