"""Data in: every way a client sends them, right counts, nothing half acknowledged."""

from __future__ import annotations

import datetime
import json
import secrets
import socket
from collections.abc import Callable, Iterator
from typing import Any

import lz4.frame
import pytest


def written(answer: Any) -> int:
    assert answer.status == 200, answer.text
    return int(json.loads(answer.headers["X-ClickHouse-Summary"])["written_rows"])


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("INSERT INTO {t} FORMAT TSV", "1\ta;b\n2\tformat\n"),
        (None, "INSERT INTO {t} (a, format) FORMAT TSV\n1\ta;b\n2\tformat\n"),
        (None, "INSERT INTO {t} FORMAT TSV SETTINGS max_insert_threads = 1\n1\ta;b\n2\tformat\n"),
        (None, "INSERT INTO {t} SETTINGS max_insert_threads = 1 FORMAT TSV\n1\ta;b\n2\tformat\n"),
        (None, "INSERT INTO {t} VALUES (1, 'a;b'), (2, concat('for', 'mat'));"),
        ("INSERT INTO {t} VALUES (1, 'a;b'),", "(2, 'format')"),
        ("INSERT INTO {t} (format, a) VALUES", "('a;b', 1), ('format', 2)"),
        (
            "/* FORMAT CSV */ INSERT INTO {t} -- VALUES\n FORMAT JSONEachRow",
            '{"a":1,"format":"a;b"}{"a":2,"format":"format"}',
        ),
        (None, 'INSERT INTO TABLE {t} (`a`, "format") FORMAT CSV 1,"a;b"\n2,format\n'),
        (None, "INSERT INTO {t} SELECT number + 1, ['a;b', 'format'][number + 1] FROM numbers(2)"),
        (None, "WITH 1 AS one INSERT INTO {t} SELECT number + one, ['a;b', 'format'][number + 1] FROM numbers(2)"),
        (None, "INSERT INTO {t} SELECT a - 1, s FROM input('a UInt8, s String') FORMAT CSV 2,a;b\n3,format\n"),
        ("INSERT INTO {t} (format, a) SELECT s, a FROM input('a UInt8, s String') FORMAT TSV", "1\ta;b\n2\tformat\n"),
    ],
)
def test_data_arrive_whatever_the_shape(api: Callable[[str], Any], table: str, query: str | None, body: str) -> None:
    loader = api("loader")
    loader.ask(f"CREATE TABLE {table} (a UInt8, format String) ENGINE = MergeTree ORDER BY a")
    parameters = {} if query is None else {"query": query.format(t=table)}
    assert written(loader.call(body.replace("{t}", table), **parameters)) == 2
    assert loader.ask(f"SELECT * FROM {table} ORDER BY a") == "1\ta;b\n2\tformat"


@pytest.mark.parametrize("chunked", [True, False])
def test_large_insert_is_counted(api: Callable[[str], Any], table: str, chunked: bool) -> None:
    loader = api("loader")
    loader.ask(f"CREATE TABLE {table} (a UInt64, s String) ENGINE = MergeTree ORDER BY a")
    block = b"".join(b"%d\tabc\n" % number for number in range(50_000))

    def chunks() -> Iterator[bytes]:
        yield f"INSERT INTO {table} FORMAT TSV\n".encode()
        for _ in range(20):
            yield block

    assert written(loader.call(chunks() if chunked else b"".join(chunks()))) == 1_000_000
    assert loader.ask(f"SELECT count(), sum(a), uniqExact(s) FROM {table}") == f"1000000\t{20 * sum(range(50_000))}\t1"


def test_values_with_parameters(admin: Any, table: str) -> None:
    admin.ask(f"CREATE TABLE {table} (a UInt8, s String) ENGINE = Memory")
    assert written(admin.call(f"INSERT INTO {table} VALUES ({{a:UInt8}}, {{s:String}})", param_a=7, param_s="x'y")) == 1
    assert admin.ask(f"SELECT * FROM {table} FORMAT TSVRaw") == "7\tx'y"


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("INSERT INTO {t} FORMAT TSV\n1\nx\n", 27),
        ("INSERT INTO {t} (b) FORMAT TSV\n1\n", 16),
        ("INSERT INTO raw.missing FORMAT TSV\n1\n", 60),
        ("INSERT INTO {t} FORMAT Nonsense\n1\n", 73),
        ("INSERT INTO {t} SELECT nonsense FROM input('a UInt8') FORMAT TSV\n1\n", 47),
        ("INSERT INTO {t} SELECT a FROM input('a UInt8') FORMAT TSV\nx\n", 27),
        ("INSERT INTO {t} VALUES (1, 2, 3)", 62),
    ],
)
def test_failed_insert_tells_why_and_leaves_nothing(admin: Any, table: str, sql: str, code: int) -> None:
    admin.ask(f"CREATE TABLE {table} (a UInt8) ENGINE = MergeTree ORDER BY a")
    answer = admin.call(sql.replace("{t}", table))
    assert answer.code == code, answer.text
    assert admin.ask(f"SELECT count() FROM {table}") == "0"


def test_client_that_leaves_in_the_middle_commits_nothing(admin: Any, table: str) -> None:
    admin.ask(f"CREATE TABLE {table} (a UInt32) ENGINE = MergeTree ORDER BY a")
    for kind in ("FORMAT TSV", "SELECT a FROM input('a UInt32') FORMAT TSV"):
        query_id = secrets.token_hex(8)
        plain = socket.create_connection((admin.host, admin.port), timeout=10)
        token = admin.authorization["Authorization"]
        # More than the server reads in search of the statement's end, so that the query begins.
        body = f"INSERT INTO {table} {kind}\n".encode() + b"1\n" * 100_000
        head = f"POST /?query_id={query_id} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n"
        plain.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%b\r\n" % (len(body), body))
        # A large chunk of which a part has come.
        plain.sendall(b"%x\r\n%b" % (1 << 20, b"3\n" * 100_000))
        admin.until_running(query_id)
        plain.close()
        admin.until_running(query_id, 0)
        assert admin.ask(f"SELECT count() FROM {table}") == "0"


def test_official_client_inserts_and_reads(clickhouse: Any, table: str) -> None:
    rows = [
        [
            number,
            f"text {number}",
            datetime.datetime(2026, 1, 1, 12, 0, number % 60),
            None if number % 3 else number / 4,
        ]
        for number in range(1000)
    ]
    with clickhouse.client("loader") as client:
        client.command(
            f"CREATE TABLE {table} (a UInt32, s LowCardinality(String), d DateTime64(6, 'UTC'), n Nullable(Float64))"
            " ENGINE = MergeTree ORDER BY a"
        )
        summary = client.insert(table, rows, column_names=["a", "s", "d", "n"])
        assert summary.written_rows == 1000
        raw = client.raw_insert(
            table, ["a", "s", "d"], lz4.frame.compress(b"5000\tx\t2026-01-01 00:00:00\n"), fmt="TSV", compression="lz4"
        )
        assert raw.written_rows == 1
        got = client.query(
            f"SELECT count(), min(a), max(a), countIf(n IS NULL) FROM {table} WHERE a >= {{low:UInt32}}",
            parameters={"low": 10},
        )
        assert got.result_rows == [(991, 10, 5000, 661)]
        assert client.command(f"SELECT count() FROM {table}") == 1001
        with client.query_rows_stream(f"SELECT a, s FROM {table} ORDER BY a LIMIT 5") as stream:
            assert [row[0] for row in stream] == [0, 1, 2, 3, 4]


def test_swaps_renames_and_clones_of_the_loader(api: Callable[[str], Any], table: str) -> None:
    loader = api("loader")
    for suffix in ("a", "b", "c"):
        loader.ask(f"DROP TABLE IF EXISTS {table}_{suffix} SYNC")
    loader.ask(f"CREATE TABLE {table}_a (a UInt8) ENGINE = ReplacingMergeTree ORDER BY a COMMENT 'x'")
    loader.ask(f"INSERT INTO {table}_a VALUES (1), (2)")
    loader.ask(f"CREATE TABLE {table}_b CLONE AS {table}_a")
    loader.ask(f"INSERT INTO {table}_b VALUES (3)")
    loader.ask(f"EXCHANGE TABLES {table}_a AND {table}_b")
    loader.ask(f"RENAME TABLE {table}_a TO {table}_c")
    assert loader.ask(f"SELECT groupArray(a) FROM (SELECT a FROM {table}_c ORDER BY a)") == "[1,2,3]"
    assert loader.ask(f"SELECT count() FROM {table}_b") == "2"
    for suffix in ("b", "c"):
        loader.ask(f"DROP TABLE {table}_{suffix} SYNC")


LATE = {
    "default": ("(a UInt32, b UInt32 DEFAULT toUInt32(concat('x', toString(a)))) ENGINE = MergeTree ORDER BY a", 6),
    "constraint": ("(a UInt32, CONSTRAINT small CHECK a < 10) ENGINE = MergeTree ORDER BY a", 469),
    "materialized": ("(a UInt32, b UInt8 MATERIALIZED throwIf(a > 5)) ENGINE = MergeTree ORDER BY a", 395),
    "partitions": ("(a UInt32) ENGINE = MergeTree ORDER BY a PARTITION BY a", 252),
}


@pytest.mark.parametrize("shape", ["whole", "body", "values", "input", "async"])
@pytest.mark.parametrize("reason", LATE)
def test_error_behind_the_parser_is_the_inserts_own(admin: Any, table: str, reason: str, shape: str) -> None:
    """Rows that the table refuses are never acknowledged, however the rows came."""
    definition, code = LATE[reason]
    admin.ask(f"CREATE TABLE {table} {definition}")
    data = "".join(f"{number}\n" for number in range(200))
    into = f"INSERT INTO {table} (a)"
    answer = {
        "whole": lambda: admin.call(f"{into} FORMAT TSV\n{data}"),
        "body": lambda: admin.call([data.encode()], query=f"{into} FORMAT TSV"),
        "values": lambda: admin.call(f"{into} VALUES " + ",".join(f"({line})" for line in data.split())),
        "input": lambda: admin.call(data, query=f"{into} SELECT x FROM input('x UInt32') FORMAT TSV"),
        "async": lambda: admin.call(data, query=f"{into} SETTINGS async_insert = 1 FORMAT TSV"),
    }[shape]()
    assert answer.code == code, answer.text
    assert "/dev/fd" not in answer.text
    assert admin.ask(f"SELECT count() FROM {table}") == "0"


def test_error_in_a_view_reaches_the_insert(admin: Any, table: str) -> None:
    admin.ask(f"CREATE TABLE {table} (a UInt8) ENGINE = MergeTree ORDER BY a")
    admin.ask(f"CREATE MATERIALIZED VIEW {table}_view ENGINE = Memory AS SELECT throwIf(a > 5) AS b FROM {table}")
    try:
        assert admin.call("1\n20\n", query=f"INSERT INTO {table} FORMAT TSV").code == 395
        assert written(admin.call("1\n", query=f"INSERT INTO {table} FORMAT TSV")) == 2, "the view's row counts too"
        assert admin.ask(f"SELECT count() FROM {table}_view") == "1"
    finally:
        admin.ask(f"DROP TABLE {table}_view SYNC")


def test_one_block_is_all_or_nothing(admin: Any, table: str) -> None:
    admin.ask(f"CREATE TABLE {table} (a UInt32) ENGINE = MergeTree ORDER BY a")
    rows = b"".join(b"%d\n" % number for number in range(900_000))
    assert admin.call([rows, b"x\n"], query=f"INSERT INTO {table} FORMAT TSV").code == 27
    assert admin.ask(f"SELECT count() FROM {table}") == "0"
    assert written(admin.call([rows], query=f"INSERT INTO {table} FORMAT TSV")) == 900_000
    parts = f"SELECT count() FROM system.parts WHERE concat(database, '.', table) = '{table}' AND active"
    assert admin.ask(parts) == "1"


@pytest.mark.parametrize(
    "name", ["Native", "Parquet", "ArrowStream", "RowBinary", "JSONEachRow", "CSVWithNames", "Avro"]
)
def test_what_the_engine_writes_it_reads_again(admin: Any, table: str, name: str) -> None:
    admin.ask(f"CREATE TABLE {table} (a UInt64, s String, n Nullable(Float64)) ENGINE = MergeTree ORDER BY a")
    source = "SELECT number AS a, concat('s', toString(number)) AS s, if(a % 2, NULL, a / 4) AS n FROM numbers(70000)"
    packed = admin.call(f"{source} FORMAT {name}").body
    assert written(admin.call(packed, query=f"INSERT INTO {table} (a, s, n) FORMAT {name}")) == 70_000
    same = f"SELECT sum(cityHash64(*)) = (SELECT sum(cityHash64(*)) FROM ({source})) FROM {table}"
    assert admin.ask(same) == "1"


def test_target_and_values_take_parameters(admin: Any, table: str) -> None:
    admin.ask(f"CREATE TABLE {table} (a UInt8, s String DEFAULT 'd') ENGINE = Memory")
    into = "INSERT INTO raw.{t:Identifier} (a) SETTINGS max_insert_threads = 1 FORMAT TSV"
    assert written(admin.call("1\n2\n", query=into, param_t=table.partition(".")[2])) == 2
    assert admin.ask(f"SELECT a, s FROM {table} ORDER BY a") == "1\td\n2\td"
