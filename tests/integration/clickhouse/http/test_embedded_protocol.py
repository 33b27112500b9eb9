"""ClickHouse's HTTP interface as clients of every kind use it."""

from __future__ import annotations

import gzip
import json
import socket
import time
import zlib
from collections.abc import Callable
from typing import Any

import lz4.frame
import pytest
import zstandard

CODINGS: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    "gzip": (gzip.compress, gzip.decompress),
    "deflate": (zlib.compress, zlib.decompress),
    "zstd": (zstandard.compress, lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data)),
    "lz4": (lz4.frame.compress, lz4.frame.decompress),
}


def test_ping_needs_no_password(admin: Any) -> None:
    connection = admin.connect()
    for path, body in (("/ping", b"Ok.\n"), ("/", b"Ok.\n"), ("/replicas_status", b"Ok.\n")):
        connection.request("GET", path)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, body)
    connection.close()


def test_unknown_path_is_404(admin: Any) -> None:
    assert admin.call(path="/nothing").status == 404


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("SELECT 41 + 1", None),
        (None, "SELECT 41 + 1"),
        ("SELECT 41", "+ 1"),
        ("", "SELECT 41 + 1;"),
        (" ", "-- x\nSELECT 42"),
    ],
)
def test_statement_stands_in_address_body_or_both(admin: Any, query: str | None, body: str | None) -> None:
    parameters = {} if query is None else {"query": query}
    assert admin.call(body, **parameters).text == "42\n"


@pytest.mark.parametrize("way", ["basic", "headers", "address"])
def test_three_ways_to_authenticate(admin: Any, way: str) -> None:
    headers = {
        "basic": admin.authorization,
        "headers": {"X-ClickHouse-User": admin.user, "X-ClickHouse-Key": admin.password},
        "address": {},
    }[way]
    target = f"/?user={admin.user}&password={admin.password}" if way == "address" else "/"
    connection = admin.connect()
    connection.request("POST", target, b"SELECT 1", headers)
    assert connection.getresponse().read() == b"1\n"
    connection.close()


@pytest.mark.parametrize(
    ("headers", "parameters"),
    [
        ({"X-ClickHouse-User": "default", "X-ClickHouse-Key": "wrong"}, ""),
        ({"X-ClickHouse-User": "nobody", "X-ClickHouse-Key": "wrong"}, ""),
        ({}, ""),
        ({}, "?user=superset"),
        ({"Authorization": "Basic !!!"}, ""),
        ({"Authorization": "Bearer abc"}, ""),
        ({"X-ClickHouse-User": "default"}, "?user=default&password=x"),
    ],
)
def test_wrong_credentials_are_516(admin: Any, headers: dict[str, str], parameters: str) -> None:
    connection = admin.connect()
    connection.request("POST", f"/{parameters}", b"SELECT 1", headers)
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("X-ClickHouse-Exception-Code")) == (403, "516")
    assert b"AUTHENTICATION_FAILED" in answer.read()
    connection.close()


def test_headers_say_what_happened(admin: Any) -> None:
    answer = admin.call("SELECT number FROM numbers(10) FORMAT JSONEachRow", query_id="said-by-test")
    assert answer.headers["X-ClickHouse-Query-Id"] == "said-by-test"
    assert answer.headers["X-ClickHouse-Format"] == "JSONEachRow"
    assert answer.headers["X-ClickHouse-Timezone"] == "UTC"
    assert answer.headers["Content-Type"].startswith("application/x-ndjson")
    summary = json.loads(answer.headers["X-ClickHouse-Summary"])
    assert (summary["read_rows"], summary["result_rows"]) == ("10", "10")


def test_statement_without_result_names_no_format(admin: Any, table: str) -> None:
    answer = admin.call(f"CREATE TABLE {table} (a Int8) ENGINE = Memory")
    assert (answer.status, answer.body) == (200, b"")
    assert "X-ClickHouse-Format" not in answer.headers


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1 AS format", "1\n"),
        ("SELECT format FROM (SELECT 7 AS format)", "7\n"),
        ("SELECT f.format FROM (SELECT 7 AS format) f", "7\n"),
        ("SELECT 1 AS x FORMAT CSV SETTINGS max_threads = 1", "1\n"),
        ("SELECT 1 AS x SETTINGS max_threads = 1 FORMAT CSV", "1\n"),
        ("SELECT 'FORMAT TSV' AS a, ';' /* ; FORMAT JSON */ -- ;\n FORMAT CSV;", '"FORMAT TSV",";"\n'),
        ("WITH 3 AS format SELECT format", "3\n"),
        ("(SELECT 1) UNION ALL (SELECT 1) FORMAT TSV", "1\n1\n"),
        ("SELECT $tag$ ' ; \\ $tag$ FORMAT TSVRaw", " ' ; \\ \n"),
        ("FROM numbers(2) SELECT number FORMAT CSV", "0\n1\n"),
        ("DESCRIBE (SELECT 1 AS a) FORMAT TSV SETTINGS describe_compact_output = 1", "a\tUInt8\n"),
        ("EXISTS TABLE system.one", "1\n"),
        ("EXISTS TABLE format", "0\n"),
        ("SELECT table FROM (SELECT 1 AS table) GROUP BY table FORMAT CSV", "1\n"),
        ("SELECT 1 AS database FORMAT CSV", "1\n"),
        ("SELECT /* /* nested */ */ 5", "5\n"),
        ("SELECT \u2018curly\u2019 AS \u201cname\u201d", "curly\n"),
    ],
)
def test_format_and_comments_in_any_place(admin: Any, sql: str, expected: str) -> None:
    assert admin.call(sql).text == expected


def test_default_format_and_database(admin: Any) -> None:
    assert admin.ask("SELECT 1 AS a", default_format="JSONEachRow") == '{"a":1}'
    assert admin.call("SELECT 1 AS a", headers={"X-ClickHouse-Format": "CSVWithNames"}).text == '"a"\n1\n'
    assert admin.ask("SELECT currentDatabase()", database="ops") == "ops"
    assert admin.call("SELECT currentDatabase()", headers={"X-ClickHouse-Database": "raw"}).text == "raw\n"
    assert admin.call("SELECT 1", database="missing").code == 81


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("TSV", "text/tab-separated-values; charset=UTF-8"),
        ("CSV", "text/csv; charset=UTF-8; header=absent"),
        ("CSVWithNames", "text/csv; charset=UTF-8; header=present"),
        ("JSON", "application/json; charset=UTF-8"),
        ("jsoncompact", "application/json; charset=UTF-8"),
        ("PrettyJSONEachRow", "application/x-ndjson; charset=UTF-8"),
        ("JSONEachRowWithProgress", "application/json; charset=UTF-8"),
        ("Native", "application/octet-stream"),
        ("RowBinaryWithNamesAndTypes", "application/octet-stream"),
        ("Parquet", "application/octet-stream"),
        ("Arrow", "application/octet-stream"),
        ("ORC", "application/octet-stream"),
        ("Null", "text/plain; charset=UTF-8"),
        ("Pretty", "text/plain; charset=UTF-8"),
        ("Values", "text/plain; charset=UTF-8"),
        ("Markdown", "text/plain; charset=UTF-8"),
        ("XML", "application/xml; charset=UTF-8"),
    ],
)
def test_formats_of_every_kind(admin: Any, name: str, kind: str) -> None:
    answer = admin.call(f"SELECT number, toString(number) FROM numbers(3) FORMAT {name}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, kind)
    assert (answer.body == b"") is (name == "Null")


def test_parameters_are_bound_not_pasted(admin: Any) -> None:
    sql = "SELECT {n:UInt8} + 1, {s:String}, {a:Array(String)}, {t:Identifier}.x FROM (SELECT 5 AS x) AS sub"
    got = admin.ask(sql, param_n=4, param_s="it's \\t; DROP", param_a="['a','b']", param_t="sub")
    assert got == "5\tit\\'s \\t; DROP\t['a','b']\t5"
    assert admin.call("SELECT {n:UInt8}").code == 456


def test_bytes_that_are_not_utf8_survive(admin: Any) -> None:
    assert admin.call(b"SELECT hex('a\xff'), length('\xfe\xfd') FORMAT TSV").text == "61FF\t2\n"


@pytest.mark.parametrize("coding", CODINGS)
def test_compression_both_ways(admin: Any, table: str, coding: str) -> None:
    squeeze, expand = CODINGS[coding]
    admin.ask(f"CREATE TABLE {table} (a UInt32) ENGINE = Memory")
    data = b"".join(b"%d\n" % number for number in range(100_000))
    sent = admin.call(squeeze(data), query=f"INSERT INTO {table} FORMAT TSV", headers={"Content-Encoding": coding})
    assert json.loads(sent.headers["X-ClickHouse-Summary"])["written_rows"] == "100000"
    answer = admin.call(
        f"SELECT a FROM {table} ORDER BY a", headers={"Accept-Encoding": coding}, enable_http_compression=1
    )
    assert answer.headers["Content-Encoding"] == coding
    assert expand(answer.body) == data


def test_br_answer_is_announced(admin: Any) -> None:
    answer = admin.call("SELECT number FROM numbers(100000)", headers={"Accept-Encoding": "br, gzip"})
    assert answer.headers["Content-Encoding"] == "br"
    assert len(answer.body) < 600_000


def test_no_compression_unless_asked(admin: Any) -> None:
    assert "Content-Encoding" not in admin.call("SELECT 1").headers
    off = admin.call("SELECT 1", headers={"Accept-Encoding": "gzip"}, enable_http_compression=0)
    assert off.body == b"1\n"


def test_broken_and_unknown_codings_are_errors(admin: Any, table: str) -> None:
    admin.ask(f"CREATE TABLE {table} (a UInt32) ENGINE = Memory")
    insert = {"query": f"INSERT INTO {table} FORMAT TSV"}
    cut = gzip.compress(b"1\n" * 100_000)[:50]
    assert admin.call(cut, headers={"Content-Encoding": "gzip"}, **insert).code == 354
    assert admin.call(b"abc", headers={"Content-Encoding": "zstd"}, **insert).code == 354
    assert admin.call(b"abc", headers={"Content-Encoding": "snappy"}, **insert).code == 432
    assert admin.ask(f"SELECT count() FROM {table}") == "0"


def test_one_connection_serves_many_requests(admin: Any) -> None:
    connection = admin.connect()
    for number in range(20):
        sql = b"SELECT nonsense" if number % 5 == 4 else b"SELECT %d" % number
        connection.request("POST", "/", sql, admin.authorization)
        answer = connection.getresponse()
        body = answer.read()
        assert body == b"%d\n" % number or answer.status == 404
    connection.close()


def test_expect_100_is_answered_before_the_body(admin: Any, table: str) -> None:
    admin.ask(f"CREATE TABLE {table} (a UInt32) ENGINE = Memory")
    token = admin.authorization["Authorization"]
    with socket.create_connection((admin.host, admin.port), timeout=10) as plain:
        plain.sendall(
            f"POST /?query=INSERT+INTO+{table}+FORMAT+TSV HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n"
            "Expect: 100-continue\r\nContent-Length: 4\r\n\r\n".encode()
        )
        assert plain.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n")
        plain.sendall(b"1\n2\n")
        assert plain.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
    assert admin.ask(f"SELECT sum(a) FROM {table}") == "3"


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Content-Length: -5",
        "Content-Length: +8",
        "Content-Length: 1_0",
        "Content-Length: \u00b2",
        "Content-Length: 5\r\nContent-Length: 50",
        "Transfer-Encoding: gzip",
    ],
)
def test_ambiguous_lengths_are_refused(admin: Any, head: str) -> None:
    with socket.create_connection((admin.host, admin.port), timeout=10) as plain:
        plain.sendall(f"POST / HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\nSELECT 1".encode("latin-1"))
        assert plain.recv(100).startswith(b"HTTP/1.1 400")


SLOWLY = "SELECT sleepEachRow(0.15) FROM numbers(6) SETTINGS max_block_size = 1"


@pytest.mark.parametrize(
    "sql", [SLOWLY, f"INSERT INTO {{table}} {SLOWLY}", f"CREATE TABLE {{table}} ORDER BY () AS {SLOWLY}"]
)
def test_progress_headers_while_it_runs(admin: Any, table: str, sql: str) -> None:
    """Of statements that write, too: the client of a table that is built for minutes sees that the server works."""
    if sql.startswith("INSERT"):
        admin.ask(f"CREATE TABLE {table} (x UInt8) ORDER BY ()")
    connection = admin.connect()
    began = time.monotonic()
    connection.request(
        "POST",
        "/?send_progress_in_http_headers=1&wait_end_of_query=1",
        sql.format(table=table).encode(),
        admin.authorization,
    )
    assert connection.sock.recv(1, socket.MSG_PEEK)
    assert time.monotonic() - began < 0.7
    answer = connection.getresponse()
    told = [json.loads(value) for name, value in answer.getheaders() if name == "X-ClickHouse-Progress"]
    assert len(told) >= 2
    assert told[0] != told[-1]
    assert (answer.status, answer.read()) == (200, b"0\n" * 6 if sql == SLOWLY else b"")
    connection.close()


def test_a_query_that_does_not_move_is_silent(admin: Any) -> None:
    """Progress is told when there is some: a client with a timeout for silence gives up on a query that hangs."""
    connection = admin.connect()
    connection.request("POST", "/?send_progress_in_http_headers=1", b"SELECT sleep(2)", admin.authorization)
    answer = connection.getresponse()
    told = [name for name, _ in answer.getheaders() if name == "X-ClickHouse-Progress"]
    assert (answer.status, answer.read()) == (200, b"0\n")
    assert len(told) <= 1, "two seconds in which nothing moved hold twenty intervals"
    connection.close()


@pytest.mark.parametrize(("interval", "most"), [("100", 20), ("400", 2), ("120000", 0)])
def test_progress_comes_as_often_as_the_client_asks(admin: Any, table: str, interval: str, most: int) -> None:
    """clickhouse-connect asks for one in two minutes: http.client takes so many headers and no more."""
    connection = admin.connect()
    target = f"/?send_progress_in_http_headers=1&http_headers_progress_interval_ms={interval}"
    connection.request("POST", target, f"CREATE TABLE {table} ORDER BY () AS {SLOWLY}".encode(), admin.authorization)
    answer = connection.getresponse()
    told = [name for name, _ in answer.getheaders() if name == "X-ClickHouse-Progress"]
    assert (answer.status, answer.read()) == (200, b"")
    assert bool(most) <= len(told) <= most
    connection.close()


def test_error_after_progress_headers(admin: Any, table: str) -> None:
    """The status is out; the code and the sentence still reach the client."""
    sql = f"CREATE TABLE {table} ORDER BY () AS SELECT sleepEachRow(0.1), throwIf(number = 4) FROM numbers(6) SETTINGS max_block_size = 1"
    answer = admin.call(sql, send_progress_in_http_headers=1)
    assert (answer.status, answer.code) == (200, 395)
    assert answer.text.startswith("Code: 395. DB::Exception: ")


def test_external_tables_come_as_multipart(api: Callable[[str], Any]) -> None:
    """Also for the user that can only read."""
    superset = api("superset")
    parts = [
        b'--zz\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT sum(x), {p:UInt8} FROM ext JOIN more ON x = _1',
        b'--zz\r\nContent-Disposition: form-data; name="param_p"\r\n\r\n9',
        b'--zz\r\nContent-Disposition: form-data; name="ext"; filename="ext"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n1\n2\n3\n",
        b'--zz\r\nContent-Disposition: form-data; name="more"; filename="more"\r\n\r\n2,"[\'a\']"\n3,"[]"\n',
    ]
    body = b"\r\n".join([*parts, b"--zz--\r\n"])
    answer = superset.call(
        [body[at : at + 7] for at in range(0, len(body), 7)],
        headers={"Content-Type": "multipart/form-data; boundary=zz"},
        ext_structure="x UInt32",
        more_types="UInt32,Array(String)",
        more_format="CSV",
    )
    assert answer.text == "5\t9\n"


def test_head_has_no_body(admin: Any) -> None:
    answer = admin.call(method="HEAD", path="/", query="SELECT 1")
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1; SELECT 2",
        "SELECT 1;; SELECT 2",
        "SELECT 1; DROP TABLE ops.runs",
        "CREATE TABLE raw.z (a Int8) ENGINE = Memory; SELECT 1",
    ],
)
def test_several_statements_are_refused(admin: Any, sql: str) -> None:
    answer = admin.call(sql)
    assert answer.code == 62
    assert "Multi-statements" in answer.text


@pytest.mark.parametrize(
    ("sql", "advice"),
    [
        ("CREATE USER x", "users.xml"),
        ("CREATE ROLE x", "users.xml"),
        ("GRANT SELECT ON *.* TO dbt", "users.xml"),
        ("CREATE ROW POLICY p ON raw.t USING 1", "users.xml"),
        ("ALTER USER dbt IDENTIFIED BY 'x'", "users.xml"),
        ("EXECUTE AS dbt SELECT 1", "as that user"),
        ("CREATE TABLE raw.k (a Int8) ENGINE = Kafka('a', 'b', 'c', 'CSV')", "INSERT over HTTP"),
        ("CREATE TABLE raw.k (a Int8) ENGINE /* */ = `Kafka` SETTINGS kafka_broker_list = 'x'", "INSERT over HTTP"),
        ("CREATE TABLE raw.k (a Int8) ENGINE = ReplicatedMergeTree ORDER BY a", "use MergeTree"),
        ("CREATE DATABASE k ENGINE = Replicated('a', 'b', 'c')", "use Atomic"),
        ("SELECT 1 INTO OUTFILE '/tmp/x'", "over HTTP"),
        ("INSERT INTO ops.runs FROM INFILE '/etc/passwd' FORMAT CSV", "over HTTP"),
        ("BEGIN TRANSACTION", "no transactions"),
        ("SYSTEM SHUTDOWN", "./stop.sh"),
        ("SYSTEM /* */ KILL", "./stop.sh"),
        ("SYSTEM RELOAD CONFIG", "./run.sh"),
        ("SYSTEM START LISTEN HTTP", "./run.sh"),
        ("CREATE TABLE raw.k ON CLUSTER c (a Int8) ENGINE = MergeTree ORDER BY a", "leave it out"),
        ("CREATE TABLE raw.k (a Int8) ENGINE = Buffer(raw, t, 1, 1, 1, 1, 1, 1, 1)", "async_insert"),
        ("SET DEFAULT ROLE admin TO dbt", "users.xml"),
    ],
)
def test_what_cannot_be_done_says_what_to_do(admin: Any, sql: str, advice: str) -> None:
    answer = admin.call(sql)
    assert answer.code in (344, 512, 514)
    assert advice in answer.text


@pytest.mark.parametrize(
    "sql",
    [
        "EXPLAIN SELECT 1",
        "EXPLAIN AST SELECT 1",
        "EXPLAIN AST SELECT 1 FORMAT TSV",
        "EXPLAIN SYNTAX SELECT 1",
        "EXPLAIN QUERY TREE SELECT 1",
        "EXPLAIN PIPELINE SELECT 1",
        "EXPLAIN ESTIMATE SELECT * FROM ops.runs",
        "SHOW GRANTS",
        "SHOW DATABASES",
        "SHOW CREATE TABLE ops.runs",
        "SHOW CREATE ops.runs",
        "SHOW COLUMNS FROM ops.runs",
        "SHOW SETTINGS LIKE 'max_threads'",
        "SHOW PROCESSLIST",
        "SHOW ENGINES",
        "SHOW FUNCTIONS LIKE 'sum'",
        "DESCRIBE TABLE ops.runs",
        "DESC (SELECT 1)",
        "EXISTS TABLE ops.runs",
        "CHECK GRANT SELECT ON ops.runs",
        "(SELECT 1) UNION ALL (SELECT 2)",
        "FROM numbers(2) SELECT number",
        "WITH 1 AS x SELECT x",
    ],
)
def test_every_statement_with_an_answer_gives_it(admin: Any, sql: str) -> None:
    answer = admin.call(sql)
    assert answer.status == 200, answer.text
    assert answer.text.strip() or "ESTIMATE" in sql
    assert answer.headers.get("X-ClickHouse-Format") or not answer.text
