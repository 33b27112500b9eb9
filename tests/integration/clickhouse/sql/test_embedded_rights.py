"""Who may do what, and every way round that we could think of. The three tools' users against one server."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

DENIED = (497, 164, 512, 452, 344, 514, 62)
PASSWD = "'/etc/passwd'"


@pytest.fixture(scope="module", autouse=True)
def shop(api: Callable[[str], Any]) -> Iterator[None]:
    """raw.rights with a secret, and what dbt makes of it."""
    admin, loader, dbt = api("default"), api("loader"), api("dbt")
    names = ("analytics.rights_mv", "analytics.rights_refresh", "analytics.rights_view", "analytics.rights_plain")
    drops = [f"DROP VIEW IF EXISTS {name} SYNC" for name in names]
    drops += ["DROP TABLE IF EXISTS analytics.rights_mart SYNC", "DROP TABLE IF EXISTS raw.rights SYNC"]
    for sql in drops:
        admin.ask(sql)
    loader.ask("CREATE TABLE raw.rights (a UInt8, file String) ENGINE = MergeTree ORDER BY a")
    loader.ask("INSERT INTO raw.rights VALUES (1, 'secret')")
    dbt.ask("CREATE VIEW analytics.rights_view DEFINER = dbt SQL SECURITY DEFINER AS SELECT * FROM raw.rights")
    dbt.ask("CREATE VIEW analytics.rights_plain AS SELECT * FROM raw.rights")
    dbt.ask("CREATE TABLE analytics.rights_mart ENGINE = MergeTree ORDER BY a AS SELECT * FROM analytics.rights_view")
    dbt.ask("CREATE MATERIALIZED VIEW analytics.rights_mv ENGINE = MergeTree ORDER BY a AS SELECT * FROM raw.rights")
    yield
    for sql in drops:
        admin.ask(sql)


@pytest.mark.parametrize("settings", [{}, {"compatibility": "22.1"}])
@pytest.mark.parametrize(
    "sql",
    [
        "CREATE MATERIALIZED VIEW {name} TO analytics.rights_mart AS SELECT * FROM raw.rights",
        "CREATE MATERIALIZED VIEW IF NOT EXISTS {name} (a UInt8) ENGINE = MergeTree ORDER BY a AS SELECT a FROM raw.rights",
        "CREATE OR REPLACE MATERIALIZED VIEW {name} ENGINE = Memory AS WITH 1 AS x SELECT x FROM raw.rights",
        "CREATE MATERIALIZED VIEW {name} REFRESH EVERY 1 DAY ENGINE = Memory EMPTY AS SELECT * FROM raw.rights",
        "CREATE MATERIALIZED VIEW {name} (a UInt8 COMMENT 'AS SELECT') ENGINE = Memory COMMENT 'x' AS SELECT a FROM raw.rights",
        "ATTACH MATERIALIZED VIEW {name} UUID '{id}' TO analytics.rights_mart (a UInt8) AS SELECT a FROM raw.rights",
    ],
)
def test_materialized_view_runs_as_its_maker(api: Callable[[str], Any], sql: str, settings: dict[str, str]) -> None:
    """`CURRENT_USER`, whom a server would take, is the admin inside the engine."""
    name = "analytics.rights_refresh"
    api("dbt").ask(sql.format(name=name, id=uuid.uuid4()), **settings)
    try:
        made = api("default").ask("SELECT create_table_query FROM system.tables WHERE name = 'rights_refresh'")
        assert "DEFINER = dbt SQL SECURITY DEFINER" in made
    finally:
        api("default").ask(f"DROP VIEW {name} SYNC")


@pytest.mark.parametrize(
    ("user", "sql", "answer"),
    [
        ("loader", "INSERT INTO raw.rights VALUES (2, 'other')", ""),
        ("superset", "SELECT count() FROM analytics.rights_mv WHERE a = 2", "1"),  # inserted by loader, made by dbt
        ("superset", "SELECT count() > 0 FROM analytics.rights_view", "1"),
        ("superset", "SELECT count() FROM analytics.rights_mart", "1"),
        ("airflow", "SELECT count() FROM analytics.rights_mart", "1"),
        ("airflow", "SELECT count() FROM system.columns WHERE database IN ('raw', 'ops')", "0"),
        ("superset_operations", "SELECT count() >= 0 FROM ops.runs", "1"),
        ("superset", "SELECT count() > 0 FROM system.columns WHERE database = 'analytics'", "1"),
        ("superset", "SELECT count() FROM system.columns WHERE database = 'raw'", "0"),
        ("superset", "SHOW TABLES FROM raw", ""),
        ("superset", "SELECT getSetting('readonly'), getSetting('max_execution_time')", "2\t300"),
        ("loader", "SELECT getSetting('max_memory_usage'), currentRoles()", "4000000000\t['loader']"),
        ("superset", "SELECT 1 SETTINGS max_threads = 1", "1"),
        ("superset", "SELECT length(file) FROM analytics.rights_mart", "6"),
        ("superset", "SELECT count() FROM system.processes", "0"),
        ("superset", "SELECT count() FROM system.errors", "0"),
        ("superset", "SELECT count() FROM system.stack_trace", "0"),
        ("dbt", "SELECT count() > 0 FROM raw.rights", "1"),
        ("dbt", "SELECT count() >= 0 FROM analytics.rights_plain", "1"),
        ("dbt", "CREATE TABLE analytics_dev.rights (a UInt8, file String) ENGINE = MergeTree ORDER BY a", ""),
        ("dbt", "INSERT INTO analytics_dev.rights (a, file) SELECT a, file FROM raw.rights", ""),
        ("dbt", "ALTER TABLE analytics_dev.rights ADD COLUMN b UInt8", ""),
        ("dbt", "DELETE FROM analytics_dev.rights WHERE a = 1", ""),
        ("dbt", "DROP TABLE analytics_dev.rights SYNC", ""),
        ("dbt", "SELECT count() > 0 FROM system.tables WHERE database = 'raw'", "1"),
        ("loader", "SELECT count() >= 0 FROM system.parts", "1"),
        ("loader", "SELECT arrayMap(x -> x + 1, [1])", "[2]"),
    ],
)
def test_what_each_user_needs_works(api: Callable[[str], Any], user: str, sql: str, answer: str) -> None:
    assert api(user).ask(sql) == answer


WRITES = [
    "INSERT INTO analytics.rights_mart VALUES (9, 'x')",
    "INSERT INTO ops.runs (run) VALUES (1)",
    "CREATE TABLE analytics.rights_x (a UInt8) ENGINE = Memory",
    "CREATE VIEW analytics.rights_x AS SELECT 1",
    "DROP TABLE analytics.rights_mart",
    "TRUNCATE TABLE analytics.rights_mart",
    "ALTER TABLE analytics.rights_mart DELETE WHERE 1",
    "RENAME TABLE analytics.rights_mart TO analytics.rights_y",
    "CREATE DATABASE rights_x",
    "CREATE FUNCTION rights_x AS x -> x",
    "OPTIMIZE TABLE analytics.rights_mart FINAL",
    "SYSTEM FLUSH LOGS",
    "SYSTEM SHUTDOWN",
    "CREATE TEMPORARY TABLE x (a String) ENGINE = File(CSV, '/tmp/x')",
]
RAW = [
    "SELECT * FROM raw.rights",
    "SELECT * FROM analytics.rights_plain",
    "SELECT * FROM merge('raw', '^rights$')",
    "SELECT * FROM view(SELECT * FROM raw.rights)",
    "SELECT * FROM loop(raw.rights)",
    "SELECT * FROM remote('127.0.0.1', raw.rights)",
    "SELECT * FROM cluster('default', raw.rights)",
    "SELECT (SELECT file FROM raw.rights LIMIT 1)",
    "SELECT 1 WHERE 1 IN (SELECT a FROM raw.rights)",
    'WITH x AS (SELECT * FROM `raw`."rights") SELECT * FROM x',
    "SELECT * FROM raw/* */.rights",
    "DESCRIBE raw.rights",
    "SHOW CREATE TABLE raw.rights",
    "EXPLAIN SELECT * FROM raw.rights",
    "SELECT * FROM mergeTreeIndex(raw, rights)",
    "SELECT joinGet(raw.rights, 'file', 1)",
]
FILES_AND_NETWORK = [
    f"SELECT * FROM file({PASSWD}, LineAsString)",
    f"SELECT file({PASSWD})",
    f"SELECT `file`({PASSWD})",
    f'SELECT "f\\x69le"({PASSWD})',
    f"SELECT /**/file/**/({PASSWD})",
    f"SELECT file\u00a0({PASSWD})",
    f"SELECT x.* APPLY(file) FROM (SELECT {PASSWD} AS y) AS x",
    f"SELECT * APPLY file FROM (SELECT {PASSWD} AS y)",
    f"SELECT arrayMap(file, [{PASSWD}])",
    f"SELECT arrayMap((file), [{PASSWD}])",
    f"SELECT arrayMap(file AS f, [{PASSWD}])",
    f"SELECT arrayMap(x -> file(x), [{PASSWD}])",
    f"WITH (x -> file(x)) AS f SELECT f({PASSWD})",
    f"SELECT $a$'$a$, file({PASSWD}), $a$'$a$",
    f"SELECT /* /* */ ' */ 1, file({PASSWD}) --'",
    f"SELECT '\\'', file({PASSWD}), '\\''",
    f"SELECT \u2018'\u2019, file({PASSWD}), \u2018'\u2019",
    f"SELECT 1 // '\n, file({PASSWD}) -- '",
    f"EXPLAIN SELECT file({PASSWD})",
    f"DESCRIBE file({PASSWD})",
    f"SELECT * FROM `{PASSWD[1:-1]}`",
    f"SELECT * FROM {PASSWD}",
    f"SELECT * FROM sqlite({PASSWD}, 'x')",
    f"SELECT * FROM fileCluster('default', {PASSWD})",
    "SELECT * FROM icebergLocal('/etc/')",
    "SELECT * FROM deltaLakeLocal('/etc/')",
    "SELECT * FROM filesystem('/etc')",
    "SELECT * FROM url('http://127.0.0.1:1/', LineAsString)",
    "SELECT * FROM s3('http://127.0.0.1:1/bucket/key', LineAsString)",
    "SELECT * FROM remote('127.0.0.1:1', system.one)",
    "SELECT * FROM postgresql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
    "SELECT * FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
    "SELECT * FROM mongodb('127.0.0.1:1', 'a', 'b', 'c', 'd', 'x Int8')",
    "SELECT * FROM redis('127.0.0.1:1', 'k', 'k String')",
    "SELECT * FROM azureBlobStorage('http://127.0.0.1:1', 'c', 'b')",
    "SELECT * FROM iceberg('http://127.0.0.1:1/bucket/key')",
    "SELECT * FROM hdfs('hdfs://127.0.0.1:1/b')",
    "SELECT * FROM executable('cat', LineAsString, 'a String')",
    "SELECT * FROM Python(reader)",
    "SELECT aiGenerate('x')",
    f"SELECT 1 FORMAT Template SETTINGS format_template_row = {PASSWD}",
    f"SELECT 1 FORMAT Protobuf SETTINGS format_schema = '{PASSWD[1:-1]}:M'",
    "SELECT 1 FORMAT Protobuf SETTINGS output_format_schema = '/tmp/rights'",
    "SELECT * FROM format(AvroConfluent, 'a Int8', 'x') SETTINGS format_avro_schema_registry_url = 'http://127.0.0.1:1'",
    f"SELECT 1 INTO OUTFILE {PASSWD}",
    "SELECT 1 INTO OUTFILE '/tmp/rights' FORMAT CSV",
    "SELECT 1 INTO /* x */ OUTFILE $$/tmp/rights$$",
    "BACKUP TABLE analytics.rights_mart TO File('/tmp/rights')",
]
OTHERS_RIGHTS = [
    "SET ROLE admin",
    "SET ROLE ALL",
    "SET DEFAULT ROLE admin TO superset",
    "SET /* x */ ROLE `admin`",
    "SET profile = 'default'",
    "SET `profile` = 'default'",
    "SET max_threads = 1, profile = 'default'",
    "SELECT 1 SETTINGS profile = 'default'",
    "SELECT * FROM (SELECT 1 SETTINGS max_threads = 1, profile = 'default')",
    "SET readonly = 0",
    "SELECT 1 SETTINGS readonly = 0",
    "EXECUTE AS default SELECT 1",
    "EXECUTE AS dbt",
    "GRANT admin TO superset",
    "CREATE USER rights IDENTIFIED BY 'x'",
    "ALTER USER superset IDENTIFIED BY 'x'",
    "SELECT 1; SELECT * FROM raw.rights",
    "SET send_logs_source_regexp = 'default/x'",
]


@pytest.mark.parametrize("sql", WRITES + RAW + FILES_AND_NETWORK + OTHERS_RIGHTS)
def test_superset_cannot(api: Callable[[str], Any], sql: str) -> None:
    answer = api("superset").call(sql)
    assert answer.status != 200, answer.text
    assert answer.code in (*DENIED, 60, 46, 47, 36, 43, 636, 701, 73), answer.text
    for leak in ("root:", "secret"):
        assert leak not in answer.text


@pytest.mark.parametrize("user", ["loader", "dbt"])
@pytest.mark.parametrize("sql", FILES_AND_NETWORK)
def test_loader_and_dbt_cannot_leave_the_warehouse(api: Callable[[str], Any], user: str, sql: str) -> None:
    answer = api(user).call(sql)
    assert answer.status != 200, answer.text
    assert "root:" not in answer.text


@pytest.mark.parametrize(
    ("user", "sql"),
    [
        ("loader", "SELECT * FROM analytics.rights_mart"),
        ("loader", "CREATE TABLE analytics.rights_x (a UInt8) ENGINE = Memory"),
        ("loader", "CREATE DATABASE rights_x"),
        ("loader", "DROP DATABASE raw"),
        ("dbt", "INSERT INTO raw.rights VALUES (9, 'x')"),
        ("dbt", "DROP TABLE raw.rights"),
        ("dbt", "TRUNCATE TABLE raw.rights"),
        ("dbt", "ALTER TABLE raw.rights DROP COLUMN file"),
        ("dbt", "DROP TABLE ops.runs"),
        ("dbt", "DROP DATABASE analytics"),
        ("dbt", "EXCHANGE TABLES analytics.rights_mart AND raw.rights"),
        ("dbt", "CREATE TABLE analytics.rights_x (a Int8) ENGINE = URL('http://127.0.0.1:1', CSV)"),
        ("dbt", "CREATE TABLE analytics.rights_x (a Int8) ENGINE = S3('http://127.0.0.1:1/b/k', CSV)"),
        ("dbt", "CREATE TABLE analytics.rights_x (a Int8) ENGINE = PostgreSQL('127.0.0.1:1', 'a', 'b', 'c', 'd')"),
        ("dbt", "CREATE TABLE analytics.rights_x (a Int8) ENGINE = Executable('cat', CSV)"),
        ("dbt", "CREATE TABLE analytics.rights_x (a Int8) ENGINE = Merge(raw, '.*')"),
        ("dbt", "CREATE TABLE analytics.rights_x (a Int8) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = web, endpoint = 'http://127.0.0.1:1/')"),
        ("dbt", f"CREATE TABLE analytics.rights_x (a Int8, b String DEFAULT file({PASSWD})) ENGINE = MergeTree ORDER BY a"),
        ("dbt", f"CREATE VIEW analytics.rights_x AS SELECT file({PASSWD})"),
        ("dbt", "CREATE DICTIONARY analytics.rights_x (a UInt64) PRIMARY KEY a SOURCE(HTTP(URL 'http://127.0.0.1:1' FORMAT 'TSV')) LAYOUT(FLAT()) LIFETIME(0)"),
        ("dbt", "CREATE VIEW analytics.rights_x DEFINER = default SQL SECURITY DEFINER AS SELECT 1"),
        ("dbt", "CREATE VIEW analytics.rights_x DEFINER = CURRENT_USER SQL SECURITY DEFINER AS SELECT 1"),
        ("dbt", "CREATE VIEW analytics.rights_x DEFINER /* = dbt */ = `default` SQL SECURITY DEFINER AS SELECT 1"),
        ("dbt", "CREATE VIEW analytics.rights_x DEFINER = loader SQL SECURITY DEFINER AS SELECT 1"),
        ("dbt", "CREATE VIEW analytics.rights_x SQL SECURITY DEFINER AS SELECT 1"),
        ("dbt", "CREATE VIEW analytics.rights_x SQL SECURITY NONE AS SELECT 1"),
        ("dbt", "CREATE MATERIALIZED VIEW analytics.rights_x ENGINE = Memory DEFINER = default SQL SECURITY DEFINER AS SELECT 1"),
        ("dbt", "ALTER TABLE analytics.rights_view MODIFY SQL SECURITY DEFINER"),
        ("dbt", "ALTER TABLE analytics.rights_view MODIFY DEFINER = default"),
        ("dbt", "ALTER TABLE analytics.rights_view MODIFY DEFINER default SQL SECURITY DEFINER"),
        ("dbt", "ALTER TABLE analytics.rights_view MODIFY SQL SECURITY NONE"),
        ("dbt", "CREATE TABLE analytics.rights_x (a Int8) ENGINE = Memory PARALLEL WITH CREATE VIEW analytics.rights_z SQL SECURITY NONE AS SELECT 1"),
        (
            "dbt",
            "CREATE VIEW analytics.rights_x DEFINER = dbt SQL SECURITY DEFINER AS SELECT arrayMap({f:Identifier}, ['/etc/passwd'])",
        ),
        ("dbt", "INSERT INTO analytics.rights_mart FORMAT TSV SETTINGS profile = 'default'\n1\tx\n"),
        ("dbt", "SET default_view_definer = 'default'"),
        ("dbt", "ATTACH TABLE analytics.rights_x FROM '/etc' (a Int8) ENGINE = MergeTree ORDER BY a"),
        ("loader", "SET DEFAULT ROLE admin TO loader"),
        ("loader", "CREATE VIEW raw.rights_x DEFINER = dbt SQL SECURITY DEFINER AS SELECT * FROM analytics.rights_mart"),
        ("loader", "INSERT INTO FUNCTION file('/tmp/rights', CSV, 'a Int8') VALUES (1)"),
        ("loader", "INSERT INTO FUNCTION file('/tmp/rights', CSV) SELECT a FROM input('a Int8') FORMAT TSV 1"),
        ("loader", "INSERT INTO FUNCTION url('http://127.0.0.1:1', CSV, 'a Int8') VALUES (1)"),
        ("loader", "INSERT INTO FUNCTION remote('127.0.0.1', analytics.rights_mart) VALUES (1, 'x')"),
        ("loader", f"INSERT INTO raw.rights SELECT 1, line FROM input('a Int8'), file({PASSWD}, LineAsString, 'line String') FORMAT TSV 1"),
        ("loader", "INSERT INTO raw.rights SELECT a, (SELECT any(path) FROM filesystem('/etc')) FROM input('a Int8') FORMAT TSV 1"),
        ("loader", "INSERT INTO raw.rights SELECT a, 'x' FROM input('a Int8') WHERE a IN (SELECT count() FROM icebergLocal('/etc')) FORMAT TSV 1"),
    ],
)  # fmt: skip
def test_loader_and_dbt_cannot(api: Callable[[str], Any], user: str, sql: str) -> None:
    answer = api(user).call(sql)
    assert answer.status != 200, answer.text
    assert "root:" not in answer.text


@pytest.mark.parametrize(
    ("parameters", "headers"),
    [
        ({"role": "admin"}, {}),
        ({"role": "loader"}, {}),
        ({"profile": "default"}, {}),
        ({"PROFILE": "default"}, {}),
        ({"readonly": "0"}, {}),
        ({"format_template_row": "/etc/passwd"}, {}),
        ({"default_view_definer": "dbt"}, {}),
        ({"send_logs_source_regexp": "default/x"}, {}),
        ({"max_execution_time": "100000"}, {}),
        ({"user": "default"}, {}),
        ({}, {"X-ClickHouse-User": "default"}),
    ],
)
def test_superset_cannot_by_the_address(
    api: Callable[[str], Any], parameters: dict[str, str], headers: dict[str, str]
) -> None:
    assert api("superset").call("SELECT 1", headers=headers, **parameters).code in (497, 512, 516, 164, 452, 115)


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("SELECT {f:Identifier}('/etc/passwd')", "file"),
        ("SELECT arrayMap({f:Identifier}, ['/etc/passwd'])", "file"),
        ("SELECT arrayMap({f:Identifier}, ['/etc/passwd'])", "`file`"),
        ("SELECT * FROM {f:Identifier}.rights", "raw"),
        ("SELECT * FROM {f:Identifier}.query_log", "system"),
    ],
)
def test_superset_cannot_by_a_parameter(api: Callable[[str], Any], sql: str, value: str) -> None:
    answer = api("superset").call(sql, param_f=value)
    assert "root:" not in answer.text
    assert "secret" not in answer.text
    assert answer.status != 200 or answer.body == b""


def test_superset_cannot_by_a_parameter_of_the_session(api: Callable[[str], Any]) -> None:
    session = {"session_id": "rights-parameter"}
    api("superset").ask("SET param_f = 'file'", **session)
    assert api("superset").call("SELECT arrayMap({f:Identifier}, ['/etc/passwd'])", **session).code == 497


def test_own_role_may_be_named(api: Callable[[str], Any]) -> None:
    assert api("superset").ask("SELECT currentRoles()", role="reader") == "['reader']"


def test_external_table_cannot_smuggle_an_engine(api: Callable[[str], Any]) -> None:
    body = b'--z\r\nContent-Disposition: form-data; name="e"; filename="e"\r\n\r\n1\n\r\n--z--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=z"}
    for structure in (
        "a String) ENGINE = File(CSV, '/etc/passwd'",
        "a String DEFAULT file('/etc/passwd')",
        "a Int8); SELECT (1",
    ):
        answer = api("superset").call(body, headers=headers, query="SELECT * FROM e", e_structure=structure)
        assert answer.code in DENIED, answer.text


def test_nothing_secret_is_logged(clickhouse: Any, server_folder: Any, api: Callable[[str], Any]) -> None:
    admin = api("loader")
    admin.call("SELECT 1", password="hunter2-in-address")
    connection = admin.connect()
    connection.request("POST", "/", b"SELECT 1", {"X-ClickHouse-Key": "hunter2-in-header"})
    connection.getresponse().read()
    connection.request("POST", "/", b"SELECT * FROM url('http://u:hunter2-in-text@127.0.0.1:1/')", admin.authorization)
    connection.getresponse().read()
    connection.close()
    log = (server_folder / "clickhouse.log").read_text()
    assert "hunter2" not in log
    assert not [password for password in clickhouse.passwords.values() if password in log]


@pytest.fixture(scope="module")
def user_files(server_folder: Path, clickhouse: Any) -> Path:
    """The admin's folder for files, with two in it."""
    (folder,) = server_folder.rglob("user_files")
    (folder / "below").mkdir(exist_ok=True)
    for name in ("rights.csv", "below/rights.csv"):
        (folder / name).write_text("7,x\n")
    (folder / "out").unlink(missing_ok=True)
    (folder / "out").symlink_to("/etc")
    return folder


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT a FROM file('rights.csv', CSV, 'a Int8, b String')",
        "SELECT a FROM file('./below/*.csv', CSV, 'a Int8, b String')",
        "SELECT c1 FROM 'rights.csv'",
        "SELECT left(file('rights.csv'), 1)",
        "SELECT count() * 7 FROM filesystem('below') WHERE name = 'rights.csv'",
        "SELECT a AS `/a` FROM (SELECT 7 AS a)",
    ],
)
def test_admin_reads_files_below_user_files(admin: Any, user_files: Path, sql: str) -> None:
    assert admin.ask(sql) == "7"


def test_admin_writes_files_below_user_files(admin: Any, user_files: Path) -> None:
    name = f"{uuid.uuid4()}.csv"
    admin.ask(f"INSERT INTO FUNCTION file('{name}', CSV, 'a Int8') VALUES (5)")
    assert (user_files / name).read_text() == "5\n"


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        (sql, "/etc/passwd")
        for sql in (
            "SELECT * FROM file('/etc/passwd', LineAsString)",
            "SELECT * FROM file('../embedded-server.xml', LineAsString)",
            "SELECT * FROM file('out/passwd', LineAsString)",
            "SELECT * FROM file('{x,../../}/embedded-server.xml', LineAsString)",
            "SELECT * FROM file(concat('/etc', '/passwd'), LineAsString)",
            "SELECT * FROM file({p:String}, LineAsString)",
            "SELECT * FROM file(0, LineAsString)",
            "SELECT * FROM `file`('/etc/passwd', LineAsString)",
            "SELECT file('/etc/passwd')",
            "SELECT arrayMap(file, ['/etc/passwd'])",
            "SELECT * APPLY(file) FROM (SELECT '/etc/passwd')",
            "SELECT * FROM view(SELECT * FROM file('/etc/passwd', LineAsString))",
            "SELECT * FROM url('file:///etc/passwd', LineAsString)",
            "SELECT * FROM filesystem('/etc')",
            "SELECT * FROM filesystem()",
            "SELECT * FROM sqlite('/etc/passwd', 'x')",
            "SELECT * FROM '/etc/passwd'",
            "SELECT * FROM `/etc/passwd`",
            "SELECT * FROM default.`/etc/passwd`",
            "SELECT * FROM {p:Identifier}",
            "SELECT * FROM loop('default', '/etc/passwd') LIMIT 1",
            "SELECT * FROM remote('127.0.0.1', 'default', '/etc/passwd')",
            "DESCRIBE default.`/etc/passwd`",
            "INSERT INTO FUNCTION file('/tmp/rights', CSV, 'a Int8') VALUES (1)",
            "CREATE TABLE raw.rights_x (a String) ENGINE = File(LineAsString, '/etc/passwd')",
            "CREATE TABLE raw.rights_x (a String) ENGINE = File(LineAsString, concat('/etc', '/passwd'))",
            "CREATE DATABASE rights_x ENGINE = Filesystem('/etc')",
            "CREATE DICTIONARY raw.rights_x (a UInt64) PRIMARY KEY a SOURCE(FILE(PATH '/etc/passwd' FORMAT 'CSV')) LAYOUT(FLAT()) LIFETIME(0)",
            "CREATE DICTIONARY raw.rights_x (a UInt64) PRIMARY KEY a SOURCE(EXECUTABLE(COMMAND 'id' FORMAT 'CSV')) LAYOUT(FLAT()) LIFETIME(0)",
        )
    ],
)  # fmt: skip
def test_admin_reads_no_other_files(admin: Any, user_files: Path, sql: str, value: str) -> None:
    answer = admin.call(sql, param_p=value)
    assert answer.code == 481, answer.text
    assert "root:" not in answer.text


@pytest.mark.parametrize("user", ["superset", "loader", "dbt"])
@pytest.mark.parametrize(
    "sql", ["SYSTEM STOP MERGES", "SYSTEM START TTL MERGES", "SYSTEM STOP MOVES", "SYSTEM RESTART REPLICAS"]
)
def test_merges_are_stopped_by_who_has_the_right(api: Callable[[str], Any], admin: Any, user: str, sql: str) -> None:
    assert api(user).call(sql).code in (164, 497)
    assert admin.call("SYSTEM STOP MERGES raw.rights").status == 200
    assert admin.call("SYSTEM START MERGES").status == 200


def test_statement_made_of_a_string_is_refused(api: Callable[[str], Any]) -> None:
    """`eval` would run a text that the rules have not seen."""
    sql = "SELECT * FROM eval('SELECT file(''/etc/passwd'')')"
    answer = api("loader").call(sql, allow_experimental_eval_table_function=1)
    assert (answer.code, "root:" in answer.text) == (497, False)


def test_a_table_whose_name_looks_like_a_path_is_a_table(admin: Any, user_files: Path) -> None:
    for name in ("raw.`/* n`", "raw.`a/../b`"):
        admin.ask(f"CREATE TABLE {name} (a UInt8) ENGINE = MergeTree ORDER BY ()")
        admin.ask(f"INSERT INTO {name} VALUES (7)")
        assert admin.ask(f"SELECT * FROM {name}") == "7"
        admin.ask(f"DROP TABLE {name}")
    assert admin.call("SELECT * FROM default.`/etc/passwd`").code == 481
    assert admin.call("SELECT * FROM `default`.`/etc/passwd`").code == 481
