"""Each parameter, setting and header on which the HTTP interface itself acts is done, or refused by name."""

from __future__ import annotations

import gzip
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from embedded import interface
from embedded.http.blocks import unpacked

SLOW = "SELECT sleepEachRow(0.1) FROM numbers(300) SETTINGS max_block_size = 1"
# What the engine does with them by itself: its own requests to other servers, and one that does nothing any more.
ENGINES_OWN = {
    "http_connection_timeout", "http_send_timeout", "http_receive_timeout", "http_max_tries", "http_make_head_request",
    "http_retry_initial_backoff_ms", "http_retry_max_backoff_ms", "http_skip_not_found_url_for_globs",
    "max_http_get_redirects", "http_max_chunk_size",
}  # fmt: skip


@pytest.fixture
def session() -> dict[str, str]:
    return {"session_id": str(uuid.uuid4())}


def test_every_setting_of_http_that_the_engine_knows_is_on_the_list(admin: Any) -> None:
    """A new engine brings new ones: each is to be done, to be refused, or the engine's own."""
    sql = (
        "SELECT name FROM system.settings WHERE name LIKE '%http%' OR name LIKE '%replace_running%'"
        " OR name LIKE 'max_concurrent_queries%' OR name IN ('readonly', 'queue_max_wait_ms', 'framing_output_format')"
    )
    known = set(admin.ask(sql).split())
    listed = interface.SETTINGS | interface.COUNTS | set(interface.LIMITS) | set(interface.REFUSED)
    assert known - ENGINES_OWN == listed - interface.NO_SETTINGS


@pytest.mark.parametrize("name", [*interface.REFUSED, *interface.LIMITS])
def test_what_is_refused_is_refused_by_name(admin: Any, session: dict[str, str], name: str) -> None:
    value = "0" if name.startswith("cancel_") else "EventStream" if name.startswith("framing") else "1"
    asked = [admin.call("SELECT 1", **{name: value})]
    if name not in interface.NO_SETTINGS:
        asked += [admin.call(f"SELECT 1 SETTINGS {name} = '{value}'"), admin.call(f"SET {name} = '{value}'", **session)]
    for answer in asked:
        assert (answer.code, answer.status) == (48, 501), answer.text
        assert name in answer.text


@pytest.mark.parametrize("name", [name for name, (nothing, _) in interface.REFUSED.items() if nothing])
def test_what_asks_for_nothing_is_taken(admin: Any, name: str) -> None:
    for value in interface.REFUSED[name][0]:
        answer = admin.call("SELECT 1", **{name: value})
        assert answer.text == "1\n" or (value == "" and answer.code in (27, 32, 467)), answer.text


@pytest.mark.parametrize("name", interface.LIMITS)
def test_a_limit_that_is_in_force_may_be_asked_for(admin: Any, name: str) -> None:
    assert admin.call("SELECT 1", **{name: interface.LIMITS[name]}).text == "1\n"
    assert admin.call("SELECT 1", **{name: interface.LIMITS[name] + 1}).code == 48


ZONE, LOW = "SELECT toDateTime(0, 'Asia/Tokyo') AS c", "SELECT toLowCardinality('x') AS c"


@pytest.mark.parametrize(
    ("version", "sql", "refused"),
    [
        (54336, f"{ZONE} FORMAT Native", None),
        (54337, f"{ZONE} FORMAT Native", "c DateTime('Asia/Tokyo')"),
        (54337, f"{ZONE} -- FORMAT TSV\nFORMAT Native SETTINGS max_threads = 1", "c DateTime('Asia/Tokyo')"),
        (54337, "SELECT toDateTime({p:UInt8}, 'Asia/Tokyo') AS c FORMAT Native", "c DateTime('Asia/Tokyo')"),
        (54337, "SELECT toDateTime64(0, 3, 'Asia/Tokyo') AS c FORMAT Native", None),
        (54404, f"{LOW} FORMAT Native", None),
        (54405, f"{LOW} FORMAT Native", "c LowCardinality(String)"),
        (54405, "SELECT [toLowCardinality('x')] AS c FORMAT Native", "c Array(LowCardinality(String))"),
        (54405, "SELECT 1 AS check FORMAT Native", None),
        (54405, "SHOW TABLES FORMAT Native", None),
        (54452, "SELECT 1 FORMAT Native", "the format Native"),
        (54452, LOW, None),
        (0, f"{ZONE} FORMAT Native", None),
        ("", f"{ZONE} FORMAT Native", None),
    ],
)
def test_native_for_a_protocol_version_is_refused_where_its_columns_would_be_others(
    admin: Any, version: int | str, sql: str, refused: str | None
) -> None:
    answer = admin.call(sql, client_protocol_version=version, param_p="0")
    assert answer.code == (None if refused is None else 48), answer.text
    if refused is not None:
        assert f"client_protocol_version = {version}" in answer.text
        assert refused in answer.text


def test_native_by_the_default_format_is_looked_at_too(admin: Any) -> None:
    asked = {"client_protocol_version": 54405, "default_format": "Native"}
    assert admin.call(LOW, **asked).code == 48
    assert admin.call("SELECT 1", **asked).body == b"\x01\x01\x011\x05UInt8\x01"


@pytest.mark.parametrize(
    ("name", "value"), [("X-ClickHouse-Quota", "key"), ("X-ClickHouse-SSL-Certificate-Auth", "on")]
)
def test_headers_that_cannot_be_followed_are_refused(admin: Any, name: str, value: str) -> None:
    answer = admin.call("SELECT 1", headers={name: value})
    assert (answer.code, name in answer.text) == (48, True)


def test_the_headers_win_over_the_address(admin: Any) -> None:
    headers = {
        "X-ClickHouse-Database": "ops",
        "X-ClickHouse-Format": "JSONEachRow",
        "X-ClickHouse-Query-Id": "by-header",
    }
    answer = admin.call("SELECT currentDatabase() AS d", headers=headers, database="raw", default_format="CSV")
    assert answer.text == '{"d":"ops"}\n'
    assert answer.headers["X-ClickHouse-Query-Id"] == "by-header"


@pytest.mark.parametrize("way", ["address", "clause", "session"])
def test_response_headers_of_a_success(admin: Any, session: dict[str, str], way: str) -> None:
    value = "{'Content-Type':'image/png','X-Mine':'a b'}"
    parameters = session if way == "session" else {"http_response_headers": value} if way == "address" else {}
    if way == "session":
        admin.ask(f"SET http_response_headers = {value}", **session)
    clause = f" SETTINGS http_response_headers = $${value}$$, max_threads = 1" if way == "clause" else ""
    answer = admin.call(f"SELECT 1{clause}", **parameters)
    assert (answer.text, answer.headers["Content-Type"], answer.headers["X-Mine"]) == ("1\n", "image/png", "a b")
    wrong = admin.call(f"SELECT throwIf(1){clause}", **parameters)
    assert "X-Mine" not in wrong.headers
    assert wrong.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize(
    "headers", ["{'Content-Length':'5'}", "{'transfer-encoding':'x'}", "{'a b':'c'}", "{'a':'b\\nc'}"]
)
def test_response_headers_cannot_break_the_answer(admin: Any, headers: str) -> None:
    assert admin.call("SELECT 1", http_response_headers=headers).code == 36


@pytest.mark.parametrize("way", ["address", "clause", "session"])
def test_waiting_for_the_end_by_a_setting(admin: Any, session: dict[str, str], way: str) -> None:
    sql = "SELECT throwIf(number = 3000000), number FROM numbers(4000000)"
    if way == "session":
        admin.ask("SET http_wait_end_of_query = 1", **session)
    clause = " SETTINGS http_wait_end_of_query = 1" if way == "clause" else ""
    parameters = session if way == "session" else {"http_wait_end_of_query": 1} if way == "address" else {}
    answer = admin.call(sql + clause, **parameters)
    assert (answer.code, answer.status) == (395, 500)


@pytest.mark.parametrize("name", ["buffer_size", "http_response_buffer_size"])
def test_buffer_holds_the_answer_back(admin: Any, name: str) -> None:
    """An error behind 10 MB is a status for who asks for a larger buffer."""
    sql = "SELECT throwIf(number = 2000000), number FROM numbers(3000000) SETTINGS max_threads = 1"
    assert admin.call(sql, **{name: 100_000_000}).status == 500


def test_session_and_clause_switch_compression(admin: Any, session: dict[str, str]) -> None:
    accepts = {"headers": {"Accept-Encoding": "gzip"}}
    assert "Content-Encoding" not in admin.call("SELECT 1 SETTINGS enable_http_compression = 0", **accepts).headers
    admin.ask("SET enable_http_compression = 0", **session)
    assert "Content-Encoding" not in admin.call("SELECT 1", **accepts, **session).headers
    admin.ask("SET enable_http_compression = DEFAULT", **session)
    assert admin.call("SELECT 1", **accepts, **session).headers["Content-Encoding"] == "gzip"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "lz4"])
def test_level_of_compression(admin: Any, coding: str) -> None:
    sql = "SELECT number, repeat('abc', number % 7) FROM numbers(30000)"
    sizes = [
        len(admin.call(sql, headers={"Accept-Encoding": coding}, http_zlib_compression_level=level).body)
        for level in (1, 9)
    ]
    assert sizes[1] < sizes[0]
    for level in ("0", "12"):
        answer = admin.call(sql, headers={"Accept-Encoding": coding}, http_zlib_compression_level=level)
        assert answer.status == 400


def test_values_are_checked_by_the_engine(admin: Any) -> None:
    assert admin.call("SELECT 1", add_http_cors_header="x").code == 467
    assert (
        admin.call("SELECT getSetting('http_headers_progress_interval_ms')", http_headers_progress_interval_ms=77).text
        == "77\n"
    )


def test_other_pages_may_ask_when_they_are_allowed(admin: Any) -> None:
    page = {"Origin": "http://other.example"}
    assert "Access-Control-Allow-Origin" not in admin.call("SELECT 1", headers=page).headers
    assert "Access-Control-Allow-Origin" not in admin.call("SELECT 1", add_http_cors_header=1).headers
    for sql in ("SELECT 1", "SELECT nonsense"):
        answer = admin.call(sql, headers=page, add_http_cors_header=1)
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
    asked = admin.call(method="OPTIONS", headers=page, add_http_cors_header=1)
    assert (asked.status, asked.body) == (204, b"")
    assert "Content-Length" not in asked.headers
    assert asked.headers["Access-Control-Allow-Origin"] == "*"
    assert asked.headers["Access-Control-Allow-Methods"] == "POST, GET, OPTIONS"
    assert "Access-Control-Allow-Origin" not in admin.call(method="OPTIONS", headers=page).headers


@pytest.mark.parametrize("sql", ["SELECT nonsense", "SELEC 1", "SELECT 1; SELECT 2", "SELECT 1 SETTINGS nothing = 1"])
def test_errors_are_packed_as_asked(admin: Any, sql: str) -> None:
    plain = admin.call(sql).body
    zipped = admin.call(sql, headers={"Accept-Encoding": "gzip"})
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(zipped.body) == plain
    blocks = admin.call(sql, compress=1)
    assert b"".join(unpacked(iter([blocks.body]))) == plain
    assert blocks.status == zipped.status == admin.call(sql).status


def test_error_before_the_user_is_known_is_plain(admin: Any) -> None:
    answer = admin.call("SELECT 1", headers={"Authorization": "Basic eA==", "Accept-Encoding": "gzip"})
    assert answer.text.startswith("Code: 516.")


def test_query_is_replaced_by_the_next_of_its_id(admin: Any, api: Callable[[str], Any]) -> None:
    mark = str(uuid.uuid4())
    with ThreadPoolExecutor() as pool:
        old = pool.submit(admin.call, SLOW, query_id=mark)
        admin.until_running(mark)
        assert admin.call("SELECT 1", query_id=mark).code == 216
        assert api("superset").call("SELECT 1", query_id=mark, replace_running_query=1).text == "1\n"
        assert not old.done()
        assert admin.call("SELECT 1", query_id=mark, replace_running_query=1).text == "1\n"
        assert old.result(timeout=10).code == 394
        old = pool.submit(admin.call, SLOW, query_id=mark)
        admin.until_running(mark)
        late = admin.call("SELECT 1", query_id=mark, replace_running_query=1, replace_running_query_max_wait_ms=0)
        assert (late.code, "can't be stopped" in late.text) == (216, True)
        admin.ask(f"KILL QUERY WHERE query_id = '{mark}'")
        assert old.result(timeout=10).code == 394


def test_number_of_queries_of_a_user_and_of_all(admin: Any, api: Callable[[str], Any]) -> None:
    mark, superset = str(uuid.uuid4()), api("superset")
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(superset.call, SLOW, query_id=mark)
        admin.until_running(mark)
        refused = superset.call("SELECT 1", max_concurrent_queries_for_user=1)
        assert refused.code == 202
        assert "for user superset. Current: 1, maximum: 1" in refused.text
        assert admin.call("SELECT 1", max_concurrent_queries_for_user=1).text == "1\n"
        assert admin.call("SELECT 1", max_concurrent_queries_for_all_users=1).code == 202
        assert superset.call("SELECT 1", max_concurrent_queries_for_user=2).text == "1\n"
        assert admin.call("SELECT 1 SETTINGS max_concurrent_queries_for_user = 1").code == 48
        assert "finished" in superset.ask(
            f"KILL QUERY WHERE query_id = '{mark}' SYNC", max_concurrent_queries_for_user=1
        )
        assert slow.result(timeout=10).code == 394


def test_number_of_queries_of_the_server(own_server: Any, repo: Any) -> None:
    """server.xml's number holds; who may wait gets the next free place."""
    folder = own_server.folder / "config"
    folder.mkdir()
    users = (repo / "clickhouse/config/users.xml").read_text()
    (folder / "users.xml").write_text(users)
    server = (repo / "clickhouse/config/server.xml").read_text()
    old = "<max_concurrent_queries>100<"
    assert old in server
    (folder / "server.xml").write_text(server.replace(old, "<max_concurrent_queries>2<"))
    own_server.start(CLICKHOUSE_CONFIG=str(folder))
    admin = own_server.api()
    with ThreadPoolExecutor() as pool:
        slow = [pool.submit(admin.call, SLOW, query_id=mark) for mark in ("one", "two")]
        admin.until_running("one")
        admin.until_running("two")
        refused = admin.call("SELECT 1")
        assert (refused.code, refused.status) == (202, 500)
        assert "Too many simultaneous queries. Maximum: 2" in refused.text
        waiting = pool.submit(admin.call, "SELECT 1", queue_max_wait_ms=30000)
        assert "finished" in admin.ask("KILL QUERY WHERE query_id = 'one' SYNC")
        assert waiting.result(timeout=10).text == "1\n"
        admin.ask("KILL QUERY WHERE query_id = 'two'")
        assert [query.result(timeout=10).code for query in slow] == [394, 394]
    assert admin.ask("SELECT 1") == "1"
