"""People see queries as they were sent: in the lists of what runs and what ran, in the answer of a KILL and in errors."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from testing.waiting import until

SLOW = "SELECT sleepEachRow(0.1) FROM numbers(300)"


@pytest.mark.parametrize(
    "sql",
    [
        f"{SLOW} SETTINGS max_block_size = 1",
        f"{SLOW} SETTINGS max_block_size = 1 FORMAT CSV",
        f"{SLOW} FORMAT  JSON SETTINGS max_block_size = 1",
        f"/* why */ {SLOW}\nSETTINGS max_block_size = 1",
        f"CREATE TABLE raw.never ENGINE = Memory AS {SLOW} SETTINGS max_block_size = 1",
    ],
)
@pytest.mark.parametrize("user", ["default", "loader"])
def test_query_that_runs(api: Callable[[str], Any], user: str, sql: str) -> None:
    mark, watcher = str(uuid.uuid4()), api(user)
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(watcher.call, sql, query_id=mark)
        looks = (
            f"SELECT query, user, initial_query_id FROM system.processes WHERE query_id = '{mark}' FORMAT JSONCompactEachRow",
            f"SELECT processes.query, user, query_id FROM `system`.`processes` WHERE system.processes.query_id = '{mark}' FORMAT JSONCompactEachRow",
        )
        for look in looks:
            assert json.loads(until(lambda look=look: watcher.ask(look), "the query is shown")) == [sql, user, mark]
        listed = watcher.ask("SHOW FULL PROCESSLIST FORMAT JSONEachRow").splitlines()
        assert [sql] == [row["query"] for row in map(json.loads, listed) if row["query_id"] == mark]
        killed = watcher.ask(f"KILL QUERY WHERE query_id = '{mark}' SYNC FORMAT JSONCompactEachRow")
        assert json.loads(killed) == ["finished", mark, user, sql]
        assert slow.result(timeout=10).code == 394


@pytest.fixture
def held() -> Iterator[tuple[Iterator[bytes], threading.Event]]:
    """The data of an INSERT, which do not end before the event."""
    event = threading.Event()

    def data() -> Iterator[bytes]:
        yield b"1\n"
        event.wait(20)
        yield b"2\n"

    yield data(), event
    event.set()


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        ("INSERT INTO {table} FORMAT TSV", "INSERT INTO {table} FORMAT TSV"),
        (
            "INSERT INTO {table} (a) SETTINGS max_threads = 1 FORMAT TSV",
            "INSERT INTO {table} (a) SETTINGS max_threads = 1 FORMAT TSV",
        ),
        (
            "INSERT INTO {table} SELECT a FROM input('a Int8') FORMAT TSV",
            "INSERT INTO {table} SELECT a FROM input('a Int8') FORMAT TSV",
        ),
    ],
)
def test_insert_that_runs(admin: Any, table: str, held: Any, sql: str, shown: str) -> None:
    mark = str(uuid.uuid4())
    data, event = held
    admin.ask(f"CREATE TABLE {table} (a Int8) ENGINE = Memory")
    with ThreadPoolExecutor() as pool:
        sent = pool.submit(admin.call, data, query=sql.format(table=table), query_id=mark)
        look = f"SELECT query FROM system.processes WHERE query_id = '{mark}' FORMAT TSVRaw"
        assert until(lambda: admin.ask(look), "the insert is shown") == shown.format(table=table)
        event.set()
        assert sent.result(timeout=10).status == 200


def test_looking_is_shown_as_it_was_asked(admin: Any) -> None:
    sql = "SELECT query FROM system.processes WHERE query LIKE '%as it was asked%' FORMAT TSVRaw"
    assert admin.ask(sql) == sql
    assert admin.ask("SELECT count() > 0 FROM processes", database="system") == "1"
    assert "send_logs_source_regexp" not in admin.ask("SELECT Settings FROM system.processes")


def test_query_that_ran(admin: Any, table: str) -> None:
    marks = [str(uuid.uuid4()) for _ in range(3)]
    sqls = ["SELECT 1 AS looked_for FORMAT CSV", f"INSERT INTO {table} VALUES", "SELECT 2 AS looked_for"]
    admin.ask(f"CREATE TABLE {table} (a Int8) ENGINE = Memory")
    for mark, sql in zip(marks, sqls, strict=True):
        admin.ask(sql + (" (1)" if sql.startswith("INSERT") else ""), query_id=mark)
    admin.ask("SYSTEM FLUSH LOGS")
    for mark, sql in zip(marks, sqls, strict=True):
        look = f"SELECT query, user FROM system.query_log WHERE query_id = '{mark}' AND type = 'QueryFinish' FORMAT JSONCompactEachRow"
        assert json.loads(admin.ask(look)) == [sql, "default"]


def test_reader_sees_nobodys(api: Callable[[str], Any]) -> None:
    for table in ("processes", "query_log"):
        assert api("superset").ask(f"SELECT count() FROM system.{table}") == "0"
        assert api("superset").ask(f"SELECT count() FROM information_schema.{table}") == "0"


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        ("SELECT 1 FROM", "failed at position 14 (end of query): . "),
        ("SELECT 1 FROM FORMAT CSV", None),
        ("SELECT 1 1 FORMAT CSV", "failed at position 10 (1): 1 FORMAT CSV. "),
        ("SELECT 1 WHERE FORMAT CSV", None),
        ("SELECT 1 +", "(end of query)"),
        ("INSERT INTO FORMAT CSV\n1", None),
        ("INSERT INTO raw.nowhere (a) FORMAT CSV\n1", "raw.nowhere"),
    ],
)
def test_errors_tell_of_what_was_sent(admin: Any, sql: str, sentence: str | None) -> None:
    answer = admin.call(sql)
    assert answer.code in (60, 62), answer.text
    assert sentence is None or sentence in answer.text
    for ours in ("OUTFILE '", "INFILE '", "/fd/", "TRUNCATE "):
        assert ours not in answer.text
