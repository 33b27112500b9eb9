"""ClickHouse's own compression as JDBC asks for it, and the engine's page as a browser does."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from typing import Any

import pytest
from embedded.http.blocks import Blocks, unpacked


def plain(body: bytes) -> bytes:
    return b"".join(unpacked(iter([body])))


def packed(data: bytes) -> bytes:
    coder = Blocks()
    return coder.compress(data) + coder.flush()


@pytest.mark.parametrize("rows", [0, 1, 3_000_000])
def test_answer_in_blocks(admin: Any, rows: int) -> None:
    got = admin.call(f"SELECT number FROM numbers({rows}) FORMAT RowBinary", compress=1)
    assert "Content-Encoding" not in got.headers
    assert plain(got.body) == b"".join(number.to_bytes(8, "little") for number in range(rows))


def test_error_after_the_first_byte_is_in_a_block(admin: Any) -> None:
    with pytest.raises(http.client.IncompleteRead) as error:
        admin.call(
            "SELECT throwIf(number = 3000000), number FROM numbers(4000000) SETTINGS max_threads = 1", compress=1
        )
    assert b"__exception__" in plain(error.value.partial)[-1000:]


def test_data_and_statement_in_blocks(admin: Any, table: str) -> None:
    admin.ask(f"CREATE TABLE {table} (a UInt32) ENGINE = MergeTree ORDER BY a")
    data = b"".join(b"%d\n" % number for number in range(300_000))
    sent = admin.call(packed(data), query=f"INSERT INTO {table} FORMAT TSV", decompress=1)
    assert json.loads(sent.headers["X-ClickHouse-Summary"])["written_rows"] == "300000"
    both = admin.call(packed(f"SELECT sum(a) FROM {table}".encode()), compress=1, decompress=1)
    assert plain(both.body) == b"%d\n" % sum(range(300_000))


def test_broken_block_writes_nothing(admin: Any, table: str) -> None:
    admin.ask(f"CREATE TABLE {table} (a UInt32) ENGINE = MergeTree ORDER BY a")
    body = packed(b"1\n" * 1000) + packed(b"2\n" * 1000)[:-1] + b"?"
    assert admin.call(body, query=f"INSERT INTO {table} FORMAT TSV", decompress=1).code == 40
    assert admin.ask(f"SELECT count() FROM {table}") == "0"


def test_play_is_the_engines_own_page(admin: Any) -> None:
    answer = admin.call(path="/play", headers={"Authorization": ""})
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=UTF-8")
    assert answer.text.startswith("<!DOCTYPE html>")
    assert answer.text.endswith("</html>")
    assert "<title>ClickHouse Query</title>" in answer.text
    assert len(answer.text) > 100_000


def test_play_is_understood(api: Callable[[str], Any]) -> None:
    """The requests that the page makes: a probe, the version, a query with framing, and the same without."""
    superset = api("superset")
    never = {"Authorization": "never"}
    user = {"user": superset.user, "password": superset.password, "add_http_cors_header": 1}
    assert superset.call(method="OPTIONS", path="/?query", headers=never).status == 200
    version = superset.call(
        "SELECT version() AS v, uptime() AS t",
        headers=never,
        **user,
        framing_output_format="None",
        default_format="JSONEachRow",
    )
    assert json.loads(version.text)["v"].startswith("26.")
    framed = superset.call(
        "SELECT 1 AS x", headers=never, **user, framing_output_format="EventStream", send_logs_level="trace"
    )
    assert framed.status == 501, "the page then asks again without framing"
    assert not framed.headers["Content-Type"].startswith("text/event-stream")
    again = superset.call(
        "SELECT 1 AS x",
        headers=never,
        **user,
        framing_output_format="None",
        default_format="JSONStringsEachRowWithProgress",
    )
    assert '{"row":{"x":"1"}}' in again.text
    wrong = superset.call("SELECT 1", headers=never, user=superset.user, password="wrong")
    assert wrong.code == 516
