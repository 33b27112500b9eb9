"""Running queries: errors before and after the first byte, limits, KILL, clients that leave, many at once."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from clickhouse_connect.driver.exceptions import StreamFailureError

SLOW = "SELECT sleepEachRow(1) FROM numbers(30) SETTINGS max_block_size = 1"


@pytest.mark.parametrize(
    ("sql", "code", "status", "name"),
    [
        ("SELECT nonsense", 47, 404, "UNKNOWN_IDENTIFIER"),
        ("SELECT * FROM raw.nowhere", 60, 404, "UNKNOWN_TABLE"),
        ("SELEC 1", 62, 400, "SYNTAX_ERROR"),
        ("", 62, 400, "SYNTAX_ERROR"),
        ("SELECT 'open", 62, 400, "SYNTAX_ERROR"),
        ("SELECT throwIf(1)", 395, 500, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        ("SELECT 1 FORMAT Nothing", 73, 404, "UNKNOWN_FORMAT"),
        ("SELECT 1 SETTINGS nothing = 1", 115, 404, "UNKNOWN_SETTING"),
        ("DROP TABLE raw.nowhere", 60, 404, "UNKNOWN_TABLE"),
        ("SELECT toUInt8('x')", 6, 400, "CANNOT_PARSE_TEXT"),
    ],
)
def test_errors_have_code_name_and_status(admin: Any, sql: str, code: int, status: int, name: str) -> None:
    answer = admin.call(sql)
    assert (answer.code, answer.status) == (code, status), answer.text
    assert answer.text.startswith(f"Code: {code}. DB::Exception: ")
    assert f"({name}) (version 26." in answer.text
    assert answer.text.count("Code: ") == 1


def test_unknown_setting_in_the_address(admin: Any) -> None:
    assert admin.call("SELECT 1", nothing=1).code == 115
    assert admin.call("SELECT 1", **{"a b": 1}).code == 115


def test_error_after_the_first_byte_is_in_the_body(clickhouse: Any, admin: Any) -> None:
    sql = "SELECT throwIf(number = 3000000), number FROM numbers(4000000) SETTINGS max_threads = 1"
    connection = admin.connect()
    connection.request("POST", "/", sql.encode(), admin.authorization)
    answer = connection.getresponse()
    assert answer.status == 200
    tag = answer.getheader("X-ClickHouse-Exception-Tag")
    body = b""
    with pytest.raises(Exception, match="IncompleteRead"):
        while chunk := answer.read1(1 << 20):
            body += chunk
        answer.read()
    assert f"__exception__\r\n{tag}\r\nCode: 395".encode() in body[-1000:]
    connection.close()
    client = clickhouse.client()
    with pytest.raises(StreamFailureError, match="395"), client.query_column_block_stream(sql) as stream:
        for _ in stream:
            pass
    client.close()


def test_wait_end_of_query_turns_it_into_a_status(admin: Any) -> None:
    answer = admin.call("SELECT throwIf(number = 3000000), number FROM numbers(4000000)", wait_end_of_query=1)
    assert (answer.code, answer.status) == (395, 500)


def test_long_answer_is_complete(admin: Any) -> None:
    answer = admin.call("SELECT number FROM numbers(3000000) FORMAT RowBinary")
    assert len(answer.body) == 24_000_000
    whole = admin.call("SELECT number FROM numbers(3000000) FORMAT RowBinary", wait_end_of_query=1)
    assert whole.body == answer.body


def test_time_limit(admin: Any) -> None:
    assert admin.call(SLOW, max_execution_time=1).code == 159


def test_memory_limit_leaves_the_server_up(admin: Any) -> None:
    sql = "SELECT groupArray(number) FROM numbers(100000000)"
    assert admin.call(sql, max_memory_usage=50_000_000).code == 241
    assert admin.ask("SELECT 1") == "1"


def test_kill_by_the_clients_id_reaches_own_queries_only(admin: Any, api: Callable[[str], Any]) -> None:
    superset, mark = api("superset"), str(uuid.uuid4())
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(superset.call, SLOW, query_id=mark)
        admin.until_running(mark)
        assert superset.call("SELECT 1", query_id=mark).code == 216
        assert api("dbt").ask(f"KILL QUERY WHERE query_id = '{mark}' SYNC") == ""
        assert admin.running(mark) == 1
        assert "finished" in superset.ask(f"KILL QUERY WHERE query_id = '{mark}' SYNC")
        assert slow.result(timeout=10).code == 394
        slow = pool.submit(superset.call, SLOW, query_id=mark)
        admin.until_running(mark)
        admin.ask(f"KILL QUERY WHERE user = 'superset' AND query_id = '{mark}'")
        assert slow.result(timeout=10).code == 394


@pytest.mark.parametrize(
    "sql", [SLOW, "CREATE TABLE raw.never ENGINE = Memory AS " + SLOW, "SELECT number FROM system.numbers"]
)
def test_client_that_leaves_cancels_its_query(admin: Any, sql: str) -> None:
    mark = str(uuid.uuid4())
    connection = admin.connect()
    connection.request("POST", f"/?query_id={mark}", sql.encode(), admin.authorization)
    admin.until_running(mark)
    connection.sock.close()
    admin.until_running(mark, 0)
    admin.ask("DROP TABLE IF EXISTS raw.never")


def test_query_log_finds_a_query_by_its_id(admin: Any) -> None:
    mark = str(uuid.uuid4())
    admin.ask("SELECT 'looked for'", query_id=mark)
    admin.ask("SYSTEM FLUSH LOGS")
    got = admin.ask(f"SELECT type, query FROM system.query_log WHERE log_comment = '{mark}' ORDER BY type LIMIT 1")
    assert "looked for" in got
    ttl = admin.ask("SELECT engine_full FROM system.tables WHERE database = 'system' AND name = 'query_log'")
    assert "TTL event_date + toIntervalDay(14)" in ttl


def test_64_connections_at_once(admin: Any) -> None:
    barrier = threading.Barrier(64, timeout=30)

    def work(number: int) -> list[bytes]:
        connection, got = admin.connect(), []
        for turn in range(3):
            if turn == 1:
                barrier.wait()
            connection.request("POST", "/", b"SELECT %d" % (number + turn), admin.authorization)
            got.append(connection.getresponse().read())
        connection.close()
        return got

    with ThreadPoolExecutor(64) as pool:
        for number, got in enumerate(pool.map(work, range(64))):
            assert got == [b"%d\n" % (number + turn) for turn in range(3)]


def test_admin_backs_up_and_restores(admin: Any, table: str) -> None:
    admin.ask(f"CREATE TABLE {table} (a UInt8) ENGINE = MergeTree ORDER BY a")
    admin.ask(f"INSERT INTO {table} VALUES (1), (2)")
    name = f"File('{uuid.uuid4()}.tar')"
    assert "BACKUP_CREATED" in admin.ask(f"BACKUP TABLE {table} TO {name}")
    admin.ask(f"DROP TABLE {table} SYNC")
    assert "RESTORED" in admin.ask(f"RESTORE TABLE {table} FROM {name}")
    assert admin.ask(f"SELECT sum(a) FROM {table}") == "3"
    assert admin.call(f"BACKUP TABLE {table} TO File('/tmp/outside.tar')").code == 36
