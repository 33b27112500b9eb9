"""Calls of ClickHouse's Python client in its own integration tests, as cases of our own: the official client against this server."""

from __future__ import annotations

import gzip
import json
import subprocess
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import lz4.frame
import pytest
import zstandard
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError
from clickhouse_connect.driver.external import ExternalData
from clickhouse_connect.driver.summary import QuerySummary
from clickhouse_connect.driver.tools import insert_file


@pytest.fixture(scope="module")
def client(clickhouse: Any) -> Iterator[Any]:
    with clickhouse.client(database="raw") as made:
        yield made


@pytest.fixture
def made(client: Any) -> Iterator[Any]:
    """Makes a table of one name from its columns, and drops it."""

    def make(columns: str, engine: str = "MergeTree ORDER BY tuple()") -> str:
        client.command(f"CREATE OR REPLACE TABLE client_library ({columns}) ENGINE = {engine}")
        return "client_library"

    yield make
    client.command("DROP TABLE IF EXISTS client_library SYNC")


READS: list[tuple[str, dict[str, Any], list[tuple[Any, ...]]]] = [
    ("SELECT 13;", {}, [(13,)]),
    ("SELECT 13;\u00a0", {}, [(13,)]),
    ("SELECT 13; /* inner; */ ;", {}, [(13,)]),
    ("SELECT 13; -- trailing", {}, [(13,)]),
    ("SELECT/*c*/number FROM numbers(9) LIMIT/*c*/2", {}, [(0,), (1,)]),
    ("SELECT number FROM numbers(2) // LIMIT 0", {}, [(0,), (1,)]),
    ("SELECT number AS `LIMIT 0--` FROM numbers(1)", {}, [(0,)]),
    ("SELECT 'foo\\' LIMIT 0--bar' AS value", {}, [("foo' LIMIT 0--bar",)]),
    ("\n  SELECT 1\n  -- comment\n  , 2 /* of\n  several lines */\n", {}, [(1, 2)]),
    ("WITH insert AS (SELECT 13 AS n) SELECT * FROM insert", {}, [(13,)]),
    ("WITH ' INSERT INTO ' AS value SELECT value; -- trailing", {}, [(" INSERT INTO ",)]),
    ("SELECT 'ŝ空' IN ('空')", {}, [(0,)]),
    ("SELECT %(a)s, %(b)s", {"a": "it's", "b": 5}, [("it's", 5)]),
    ("SELECT {a:String}, {b:Int32}", {"a": "tab\tand\nline", "b": -5}, [("tab\tand\nline", -5)]),
    ("SELECT {a:Nullable(String)} IS NULL", {"a": None}, [(1,)]),
    ("SELECT {a:Array(String)}", {"a": ["x", "it's", "\\"]}, [(["x", "it's", "\\"],)]),
    ("SELECT {a:Tuple(UInt8, String)}", {"a": (1, "b")}, [((1, "b"),)]),
    ("SELECT {d:Date}, {t:DateTime}", {"d": date(2020, 2, 29), "t": datetime(2020, 2, 29, 1, 2, 3)}, [(date(2020, 2, 29), datetime(2020, 2, 29, 1, 2, 3))]),
    ("SELECT {a:Decimal(20, 4)}", {"a": Decimal("1234567890.1234")}, [(Decimal("1234567890.1234"),)]),
    ("SELECT number FROM {t:Identifier} LIMIT 1", {"t": "numbers_of"}, []),
    ("SELECT {INSERT:Int32} AS value; -- trailing", {"INSERT": 13}, [(13,)]),
    ("SELECT $x$ AS a, length($x$)", {"$x$": b"\xff\x00'b"}, [("ff002762", 4)]),
    ("SHOW DATABASES LIKE 'ops'", {}, [("ops",)]),
    ("EXISTS TABLE ops.runs", {}, [(1,)]),
    ("SELECT name FROM system.tables WHERE FALSE", {}, []),
    ("EXPLAIN AST SELECT 1 FORMAT TSV", {}, []),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "parameters", "expected"), READS, ids=range(len(READS)))
def test_queries_as_people_write_them(
    client: Any, made: Any, sql: str, parameters: dict[str, Any], expected: list[tuple[Any, ...]]
) -> None:
    if parameters.get("t") == "numbers_of":
        parameters = {"t": made("number UInt8")}
    if "$x$" in parameters:
        sql = "SELECT lower(hex($x$)) AS a, length($x$) AS b"
    got = client.query(sql, parameters=parameters).result_rows
    assert got == expected or (not expected and sql.startswith("EXPLAIN") and got)


@pytest.mark.parametrize("tail", ["LIMIT 0", "LIMIT/*c*/0", "LIMIT 0; /* trailing */"])
def test_columns_without_rows(client: Any, tail: str) -> None:
    got = client.query(f"SELECT 1 AS a, now() AS b, 'x' AS c {tail}")
    assert got.column_names == ("a", "b", "c")
    assert [kind.name for kind in got.column_types] == ["UInt8", "DateTime", "String"]
    assert got.result_rows == []


COMMANDS: list[tuple[str, Any]] = [
    ("SELECT 7", 7),
    ("SELECT 'a', 2", ["a", "2"]),
    ("SELECT 13 WHERE 0", ""),
    ("SHOW POLICIES ON ops.runs", ""),
    ("EXISTS DATABASE nowhere", 0),
    ("DROP TABLE IF EXISTS raw.nowhere", QuerySummary),
    ("SET max_threads = 2", QuerySummary),
    ("SYSTEM FLUSH LOGS", QuerySummary),
    ("KILL QUERY WHERE query_id = 'nobody' SYNC", ""),
]


@pytest.mark.parametrize(("sql", "expected"), COMMANDS)
def test_commands_give_a_value_or_a_summary(client: Any, sql: str, expected: Any) -> None:
    got = client.command(sql)
    assert isinstance(got, QuerySummary) if expected is QuerySummary else got == expected


NOW = datetime(2024, 3, 31, 1, 59, 59, 123456)
TYPES: list[tuple[str, list[Any]]] = [
    ("Int8", [-128, 127]),
    ("UInt64", [0, 2**64 - 1]),
    ("Int128", [-(2**127), 2**127 - 1]),
    ("UInt256", [0, 2**256 - 1]),
    ("Float64", [-1.5, 1e300]),
    ("Bool", [True, False]),
    ("Decimal(9, 2)", [Decimal("-1234567.89"), Decimal("0.01")]),
    ("Decimal(76, 20)", [Decimal("-123456789012345678901234567890.12345678901234567890"), Decimal(1)]),
    ("String", ["", "ŝ空\0"]),
    ("FixedString(3)", [b"abc", b"a\0\0"]),
    ("LowCardinality(String)", ["a", "a"]),
    ("LowCardinality(Nullable(String))", ["a", None]),
    ("Nullable(Int32)", [None, 5]),
    ("UUID", [uuid.UUID(int=0), uuid.UUID("61f0c404-5cb3-11e7-907b-a6006ad3dba0")]),
    ("IPv4", [IPv4Address("0.0.0.0"), IPv4Address("255.1.2.3")]),
    ("IPv6", [IPv6Address("::"), IPv6Address("2001:db8::1")]),
    ("Date", [date(1970, 1, 1), date(2149, 6, 6)]),
    ("Date32", [date(1900, 1, 1), date(2299, 12, 31)]),
    ("DateTime", [datetime(1970, 1, 1), datetime(2106, 2, 7, 6, 28, 15)]),
    ("DateTime64(6)", [NOW, datetime(1925, 1, 1, 0, 0, 0, 1)]),
    ("Time64(6)", [timedelta(hours=13, microseconds=5), timedelta(hours=-1)]),
    ("Enum8('a' = -1, 'b' = 2)", ["a", "b"]),
    ("Array(Array(Nullable(String)))", [[], [["a", None], []]]),
    ("Tuple(a UInt8, b Array(String))", [{"a": 1, "b": []}, {"a": 2, "b": ["x"]}]),
    ("Map(String, Array(UInt8))", [{}, {"k": [1, 2]}]),
    ("Point", [(0.0, 1.5), (-1.0, 2.0)]),
    ("Polygon", [[[(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)]], []]),
    ("Variant(UInt64, String)", ["x", 5]),
    ("JSON", [{"a": 1, "b": {"c": ["x"]}}, {}]),
    ("SimpleAggregateFunction(sum, UInt64)", [1, 2]),
    ("Nested(a UInt8, b String)", [[{"a": 1, "b": "x"}], []]),
]


@pytest.mark.parametrize(("kind", "values"), TYPES, ids=[kind for kind, _ in TYPES])
def test_types_go_in_and_come_out(client: Any, made: Any, kind: str, values: list[Any]) -> None:
    settings = {"flatten_nested": 0, "enable_time_time64_type": 1}
    client.command(
        f"CREATE OR REPLACE TABLE client_library (n UInt8, v {kind}) ENGINE = MergeTree ORDER BY n", settings=settings
    )
    summary = client.insert("client_library", [[n, value] for n, value in enumerate(values)], settings=settings)
    assert summary.written_rows == len(values)
    assert [row[0] for row in client.query("SELECT v FROM client_library ORDER BY n").result_rows] == values
    client.command("DROP TABLE client_library SYNC")


# The engine alone decides what stands in Native, and leaves the zone of a DateTime (not of a DateTime64) out of it.
NO_ZONE = pytest.mark.xfail(strict=True, reason="the engine cannot be told the client's protocol version")
ZONES = [
    pytest.param(
        "SELECT toDateTime('2024-07-01 12:00:00', 'America/Denver')", {}, "2024-07-01 12:00:00-06:00", marks=NO_ZONE
    ),
    ("SELECT toDateTime64('2024-07-01 12:00:00.5', 3, 'Asia/Tokyo')", {}, "2024-07-01 12:00:00.500000+09:00"),
    ("SELECT toDateTime('2024-07-01 12:00:00')", {"session_timezone": "America/Denver"}, "2024-07-01 12:00:00-06:00"),
    ("SELECT toDateTime('2024-07-01 12:00:00')", {}, "2024-07-01 12:00:00"),
]


@pytest.mark.parametrize(("sql", "settings", "expected"), ZONES)
def test_time_zones(clickhouse: Any, sql: str, settings: dict[str, str], expected: str) -> None:
    with clickhouse.client(tz_source="server") as own:
        assert str(own.query(sql, settings=settings).result_rows[0][0]) == expected


@pytest.mark.parametrize("codec", [None, "gzip", "zstd", "lz4", "br"])
@pytest.mark.parametrize("way", ["query", "insert", "raw"])
def test_codings(clickhouse: Any, made: Any, codec: str | None, way: str) -> None:
    table = made("a UInt32, b String")
    rows = [[number, f"value {number}"] for number in range(20_000)]
    with clickhouse.client(database="raw", compress=codec or False) as own:
        if way == "raw":
            squeeze = {"gzip": gzip.compress, "zstd": zstandard.compress, "lz4": lz4.frame.compress}.get(codec or "")
            data = b"".join(b"%d\tvalue %d\n" % (number, number) for number in range(20_000))
            block = squeeze(data) if squeeze else data
            own.raw_insert(table, ["a", "b"], block, fmt="TSV", compression=codec if squeeze else None)
        else:
            own.insert(table, rows)
        got = own.query(f"SELECT * FROM {table} ORDER BY a").result_rows if way != "insert" else None
        assert own.command(f"SELECT sum(a) FROM {table}") == sum(range(20_000))
        assert got is None or got == [tuple(row) for row in rows]


RAW_FORMATS = {
    "CSV": b'1,"a"\n2,"b;c"\n',
    "CSVWithNames": b'"n","s"\n1,"a"\n2,"b;c"\n',
    "TSV": b"1\ta\n2\tb;c\n",
    "JSONEachRow": b'{"n":1,"s":"a"}\n{"n":2,"s":"b;c"}\n',
    "Values": b"(1,'a'),(2,'b;c')",
    "RowBinary": b"\x01\x01a\x02\x03b;c",
}


@pytest.mark.parametrize("fmt", RAW_FORMATS)
def test_raw_formats_both_ways(client: Any, made: Any, fmt: str) -> None:
    table = made("n UInt8, s String", "Memory")
    client.raw_insert(table, ["n", "s"], RAW_FORMATS[fmt], fmt=fmt)
    assert client.raw_query(f"SELECT * FROM {table} ORDER BY n", fmt=fmt) == RAW_FORMATS[fmt]
    with client.raw_stream(f"SELECT * FROM {table} ORDER BY n", fmt=fmt) as stream:
        assert stream.read() == RAW_FORMATS[fmt]


@pytest.mark.parametrize(
    "fmt", ["Native", "Parquet", "Arrow", "ArrowStream", "ORC", "Avro", "MsgPack", "JSON", "XML", "Pretty"]
)
def test_answers_in_every_format_go_back_in_where_they_can(client: Any, made: Any, fmt: str) -> None:
    table = made("n UInt8, s String", "Memory")
    body = client.raw_query("SELECT toUInt8(number) AS n, toString(number) AS s FROM numbers(3)", fmt=fmt)
    assert body
    if fmt not in ("XML", "Pretty"):
        client.raw_insert(table, ["n", "s"], body, fmt=fmt)
        assert client.query(f"SELECT sum(n), count() FROM {table}").result_rows == [(3, 3)]


INLINE = [
    "INSERT INTO client_library (s) FORMAT TabSeparated\nvalue;\n",
    "INSERT INTO client_library (s) VALUES ('value;')",
    "INSERT INTO client_library (s) SELECT 'value;'",
    'INSERT INTO client_library FORMAT CSV "value;"',
    "INSERT INTO client_library (s) SETTINGS async_insert = 0 FORMAT TabSeparated\nvalue;\n",
    "WITH 1 AS y INSERT INTO client_library (s) FORMAT TabSeparated\nvalue;\n",
    "WITH 'value;' AS y INSERT INTO client_library (s) SELECT y",
    "INSERT INTO client_library (s) WITH 'value;' AS y SELECT y",
    "INSERT INTO TABLE client_library (* EXCEPT(nothing)) VALUES ('value;')",
    "INSERT INTO client_library VALUES ('value;'); -- trailing",
]


@pytest.mark.parametrize("sql", INLINE)
@pytest.mark.parametrize("way", ["command", "query", "raw_query"])
def test_inserts_with_their_data_beside_them(client: Any, made: Any, sql: str, way: str) -> None:
    made("s String" + (", nothing String" if "EXCEPT" in sql else ""))
    getattr(client, way)(sql)
    assert client.query("SELECT s FROM client_library").result_rows == [("value;",)]


ERRORS: list[tuple[str, dict[str, Any], int]] = [
    ("SELECT * FROM raw.nowhere", {}, 60),
    ("SELECT nonsense", {}, 47),
    ("SELECT '空' + 1", {}, 43),
    ("SELEC 1", {}, 62),
    ("SELECT {a:UInt8}", {}, 456),
    ("SELECT 1", {"max_threads": "many"}, 27),
    ("SELECT throwIf(number = 2) FROM numbers(3)", {}, 395),
    ("SELECT sleepEachRow(0.2) FROM numbers(20) SETTINGS max_block_size = 1", {"max_execution_time": 1}, 159),
    ("SELECT groupArray(number) FROM numbers(10000000)", {"max_memory_usage": 10000000}, 241),
    ("SELECT * FROM numbers(100)", {"max_result_rows": 5, "result_overflow_mode": "throw"}, 396),
    ("CREATE TABLE ops.runs (a Int8) ENGINE = Memory", {}, 57),
    ("DROP DATABASE nowhere", {}, 81),
]


@pytest.mark.parametrize(("sql", "settings", "code"), ERRORS)
def test_errors_carry_their_code(client: Any, sql: str, settings: dict[str, Any], code: int) -> None:
    with pytest.raises(DatabaseError) as error:
        client.command(sql, settings=settings) if sql[0] in "CD" else client.query(sql, settings=settings)
    assert error.value.code == code
    assert error.value.name
    assert str(error.value).count("Code: ") <= 1


def test_kill_answers_in_the_format_asked_for(client: Any) -> None:
    with client.query_rows_stream("KILL QUERY WHERE query_id = 'nobody' TEST; -- trailing") as rows:
        assert list(rows) == []


def test_insert_that_cannot_be_read_writes_nothing(client: Any, made: Any) -> None:
    table = made("a UInt32")
    with pytest.raises(DatabaseError) as error:
        client.raw_insert(table, ["a"], b"1\n2\nx\n", fmt="TSV")
    assert error.value.code == 27
    with pytest.raises(DatabaseError) as error:
        client.insert("nowhere", [[1]], column_names=["a"])
    assert error.value.code == 60
    assert client.command(f"SELECT count() FROM {table}") == 0


@pytest.mark.parametrize("way", ["query_rows_stream", "query_column_block_stream", "query_row_block_stream"])
def test_error_in_the_middle_of_a_stream(client: Any, way: str) -> None:
    sql = "SELECT number, throwIf(number = 3000000) FROM numbers(4000000)"
    with (
        pytest.raises((StreamFailureError, DatabaseError), match="THROW_IF"),
        getattr(client, way)(sql, settings={"max_threads": 1}) as stream,
    ):
        for _ in stream:
            pass


def test_streams(client: Any) -> None:
    sql = "SELECT number FROM numbers(500000)"
    with client.query_row_block_stream(sql) as blocks:
        assert sum(len(block) for block in blocks) == 500_000
    with client.query_column_block_stream(sql, settings={"max_block_size": 10_000}) as columns:
        assert sum(sum(block[0]) for block in columns) == sum(range(500_000))
    with client.query_rows_stream(sql) as rows:
        assert next(iter(rows)) == (0,)  # and leaves the rest
    assert client.command("SELECT 1") == 1


def test_external_data(client: Any) -> None:
    data = ExternalData(file_name="ext", data=b"1,a\n2,b\n", fmt="CSV", structure=["n UInt8", "s String"])
    data.add_file(file_name="more", data=b"2\t{'k':1}\n", fmt="TSV", types="UInt8,Map(String,UInt8)")
    sql = "SELECT s, _2['k'], {p:UInt8} FROM ext JOIN more ON n = _1"
    assert client.query(sql, parameters={"p": 9}, external_data=data).result_rows == [("b", 1, 9)]
    assert client.raw_query("SELECT sum(n) FROM ext", external_data=data) == b"3\n"
    with pytest.raises(DatabaseError):
        client.query("SELECT * FROM ext")


@pytest.mark.parametrize("form", [False, True])
def test_parameters_in_a_form(clickhouse: Any, form: bool) -> None:
    with clickhouse.client(form_encode_query_params=form) as own:
        got = own.query(
            "SELECT {s:String}, {a:Array(UInt32)}, {n:Nullable(String)} AS n LIMIT 1",
            {"s": "x" * 9000, "a": [1, 2], "n": None},
        )
        assert got.result_rows == [("x" * 9000, [1, 2], None)]
        assert own.query("SELECT {m:UInt8} AS a LIMIT 0", {"m": 1}).column_names == ("a",)
        assert own.raw_query("SELECT {a:Int32} + {b:Int32}", {"a": 1, "b": 2}) == b"3\n"


def test_query_ids_and_summaries(client: Any, made: Any) -> None:
    given = str(uuid.uuid4())
    got = client.query("SELECT number FROM numbers(10)", settings={"query_id": given})
    assert got.query_id == given
    assert got.summary["read_rows"] == got.summary["result_rows"] == "10"
    table = made("a UInt8")
    assert client.insert(table, [[1], [2]]).written_rows == 2
    assert client.command(f"INSERT INTO {table} SELECT 1 FROM numbers(5)").written_rows == 5
    uuid.UUID(client.command(f"TRUNCATE TABLE {table}").query_id())


def test_sessions(clickhouse: Any) -> None:
    with clickhouse.client(session_id=str(uuid.uuid4())) as own:
        own.command("CREATE TEMPORARY TABLE kept (a String, b String)")
        own.command("INSERT INTO kept (a, b) VALUES ('x', 'y'), ('z', 'w')")
        own.insert("kept", [["1", "2"]])
        assert own.query("SELECT * FROM kept ORDER BY a").result_rows == [("1", "2"), ("x", "y"), ("z", "w")]
    with clickhouse.client(autogenerate_session_id=False) as other, pytest.raises(DatabaseError):
        other.query("SELECT * FROM kept")


def test_settings_and_databases_of_a_client(clickhouse: Any) -> None:
    with clickhouse.client(database="ops", settings={"max_block_size": 77}) as own:
        assert own.command("SELECT currentDatabase(), getSetting('max_block_size')") == ["ops", "77"]
        assert own.command("SELECT getSetting('max_block_size')", settings={"max_block_size": 78}) == 78
        own.database = None
        assert own.command("SELECT currentDatabase()") == "default"
        assert own.query("SELECT 1", transport_settings={"X-Workload": "ONLINE"}).result_rows == [(1,)]
        assert own.ping()
    with pytest.raises(DatabaseError) as error:
        clickhouse.client(database="nowhere").command("SELECT 1")
    assert error.value.code == 81


def test_a_file_is_inserted(client: Any, made: Any, tmp_path: Path) -> None:
    table = made("a String, b UInt8")
    file = tmp_path / "rows.csv.gz"
    file.write_bytes(gzip.compress(b"a,b\nx,1\ny,2\n"))
    insert_file(client, table, str(file), fmt="CSVWithNames", compression="gzip")
    assert client.query(f"SELECT * FROM {table} ORDER BY a").result_rows == [("x", 1), ("y", 2)]


@NO_ZONE
def test_native_answers_follow_the_protocol_version(client: Any) -> None:
    sql = "SELECT toDateTime(1676369730, 'Asia/Shanghai') AS dt FORMAT Native"
    assert b"DateTime('Asia/Shanghai')" not in client.raw_query(sql)
    assert b"DateTime('Asia/Shanghai')" in client.raw_query(sql, settings={"client_protocol_version": 54337})


LIBRARIES = """
import json, sys, asyncio
import clickhouse_connect, numpy, pandas, pyarrow, sqlalchemy as sa
from sqlalchemy import text
host, port, user, password = sys.argv[1:]
client = clickhouse_connect.get_client(host=host, port=int(port), username=user, password=password, database="raw")
client.command("CREATE OR REPLACE TABLE libraries (a UInt32, s LowCardinality(Nullable(String)), t DateTime64(3)) ENGINE = MergeTree ORDER BY a")
engine = sa.create_engine(f"clickhousedb://{user}:{password}@{host}:{port}/raw")
frame = pandas.DataFrame({"a": [1, 2], "s": ["x", None], "t": pandas.to_datetime(["2024-01-01", "2024-01-02"])})
client.insert_df("libraries", frame)

def alchemy_reflects():
    table = sa.Table("libraries", sa.MetaData(), autoload_with=engine)
    inspector = sa.inspect(engine)
    return [column.name for column in table.columns] == ["a", "s", "t"] and inspector.has_table("libraries") and "ops" in inspector.get_schema_names()

def alchemy_creates():
    metadata = sa.MetaData()
    from clickhouse_connect.cc_sqlalchemy.datatypes.sqltypes import UInt32, String
    from clickhouse_connect.cc_sqlalchemy.ddl.tableengine import MergeTree
    table = sa.Table("libraries_made", metadata, sa.Column("a", UInt32, primary_key=True), sa.Column("b", String), MergeTree(order_by="a"))
    metadata.drop_all(engine); metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(table.insert().values(a=1, b="x"))
        rows = connection.execute(sa.select(table).where(table.c.b == "x")).fetchall()
    metadata.drop_all(engine)
    return [tuple(row) for row in rows] == [(1, "x")]

def alchemy_selects():
    with engine.connect() as connection:
        return connection.execute(text("SELECT a FROM libraries WHERE a = :a"), {"a": 2}).scalar() == 2

def arrow():
    table = client.query_arrow("SELECT number, toString(number) AS s FROM numbers(1000)", use_strings=True)
    client.command("CREATE OR REPLACE TABLE libraries_arrow (number UInt64, s String) ENGINE = Memory")
    client.insert_arrow("libraries_arrow", table)
    same = client.query_arrow("SELECT * FROM libraries_arrow ORDER BY number", use_strings=True).equals(table)
    client.command("DROP TABLE libraries_arrow SYNC")
    return same

def arrow_stream():
    with client.query_arrow_stream("SELECT number FROM numbers(300000)") as stream:
        return sum(batch.num_rows for batch in stream) == 300000

def arrow_frame():
    return list(client.query_df_arrow("SELECT a FROM libraries ORDER BY a")["a"]) == [1, 2]

def frames():
    got = client.query_df("SELECT * FROM libraries ORDER BY a")
    return list(got["a"]) == [1, 2] and got["s"][0] == "x" and pandas.isna(got["s"][1]) and str(got["t"][1])[:10] == "2024-01-02"

def frame_stream():
    with client.query_df_stream("SELECT number FROM numbers(300000)") as stream:
        return sum(len(part) for part in stream) == 300000

def arrays():
    return int(client.query_np("SELECT number FROM numbers(1000)").sum()) == 499500

def dbapi():
    import clickhouse_connect.dbapi as dbapi
    cursor = dbapi.connect(host=host, port=int(port), username=user, password=password).cursor()
    cursor.execute("SELECT number AS n FROM numbers(%(a)s)", {"a": 3})
    return cursor.fetchall() == [(0,), (1,), (2,)] and cursor.description[0][0] == "n"

own = clickhouse_connect.get_client(host=host, port=int(port), username=user, password=password, autogenerate_session_id=False)

def concurrently():
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda n: own.command(f"SELECT {n} + sleep(0.05)"), range(16))) == list(range(16))

def locked():
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(client.command, "SELECT sleep(3) AS locks")
        runs = "SELECT count() FROM system.processes WHERE query LIKE 'SELECT sleep(3) AS locks%'"
        while not own.command(runs):
            pass
        try:
            client.command("SELECT 1")
        except clickhouse_connect.driver.exceptions.ProgrammingError:
            return first.result() == 0
    return False

cases = [alchemy_reflects, alchemy_creates, alchemy_selects, arrow, arrow_stream, arrow_frame, frames, frame_stream, arrays, dbapi, concurrently, locked]
told = {}
for case in cases:
    try:
        told[case.__name__] = bool(case())
    except Exception as error:
        told[case.__name__] = f"{type(error).__name__}: {error}"
client.command("DROP TABLE libraries SYNC")
print(json.dumps(told))
"""


def test_data_libraries_and_sqlalchemy(clickhouse: Any, venvs: Path) -> None:
    """pandas, Arrow, NumPy, the DB-API and SQLAlchemy live in Superset's environment."""
    ran = subprocess.run(
        [venvs / "superset/bin/python", "-c", LIBRARIES, clickhouse.host, str(clickhouse.port), "default", clickhouse.password("default")],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert {name: told for name, told in json.loads(ran.stdout).items() if told is not True} == {}


def test_utc_instants_are_not_moved(client: Any, made: Any) -> None:
    table = made("t DateTime64(6, 'UTC')")
    client.insert(table, [[datetime(2024, 3, 31, 2, 30, tzinfo=UTC)]])
    assert client.raw_query(f"SELECT t FROM {table}") == b"2024-03-31 02:30:00.000000\n"
