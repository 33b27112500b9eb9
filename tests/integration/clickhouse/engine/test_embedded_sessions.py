"""Sessions: what stays between requests, what does not, and who may use one."""

from __future__ import annotations

import http.client
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from testing.waiting import until


@pytest.fixture
def session() -> dict[str, str]:
    return {"session_id": str(uuid.uuid4())}


def test_temporary_tables_settings_and_database_stay(admin: Any, session: dict[str, str]) -> None:
    admin.ask("CREATE TEMPORARY TABLE kept (a UInt8)", **session)
    admin.ask("INSERT INTO kept VALUES (5)", **session)
    admin.ask("SET max_threads = 3", **session)
    admin.ask("USE ops", **session)
    sql = "SELECT a, getSetting('max_threads'), currentDatabase() FROM kept"
    assert admin.ask(sql, **session) == "5\t3\tops"
    assert admin.call("SELECT a FROM kept").code == 60


def test_settings_and_database_of_an_address_end_with_the_request(admin: Any, session: dict[str, str]) -> None:
    sql = "SELECT getSetting('max_threads') = 3, getSetting('max_block_size'), currentDatabase()"
    admin.ask("SET max_block_size = 777", **session)
    assert admin.ask(sql, max_threads=3, max_block_size=99, database="ops", **session) == "1\t99\tops"
    assert admin.ask(sql, **session) == "0\t777\tdefault"


def test_who_may_not_use_the_default_database_still_begins_there(api: Callable[[str], Any]) -> None:
    for _ in range(3):
        assert api("superset").ask("SELECT currentDatabase()", database="analytics") == "analytics"
        assert api("superset").ask("SELECT currentDatabase()") == "default"


@pytest.mark.parametrize(
    ("sql", "parameters"),
    [
        ("SELECT 1", {"max_threads": 3, "database": "ops", "param_x": 5}),
        ("SELECT 1", {"max_threads": 3, "nothing": 1}),
        ("SELECT nonsense", {"max_threads": 3, "database": "ops"}),
        ("SELECT 1", {"max_threads": 3, "database": "missing"}),
        ("SELECT 1", {"readonly": 1}),
        ("SELECT 1", {"compatibility": "22.3"}),
        ("SET max_threads = 3", {}),
        ("SET param_x = 5", {}),
        ("USE ops", {}),
        ("CREATE TEMPORARY TABLE kept (a UInt8)", {"max_threads": 3}),
        (None, {"query": "SELECT 1", "max_threads": 3}),
    ],
)
def test_requests_without_a_session_share_nothing(admin: Any, sql: str | None, parameters: dict[str, Any]) -> None:
    """Though one may get the connection of another."""
    for _ in range(3):
        admin.call(sql, **parameters)
    assert (
        admin.ask("SELECT getSetting('max_threads') = 3, currentDatabase(), getSetting('readonly')") == "0\tdefault\t0"
    )
    assert admin.call("SELECT {x:UInt8}").code == 456
    assert admin.call("SELECT a FROM kept").code == 60
    assert admin.ask("CREATE TEMPORARY TABLE kept (a UInt8)") == ""


def test_requests_with_the_same_settings_get_them_each_time(admin: Any) -> None:
    """Though the connection of one that had them is given to the next."""
    sql = "SELECT getSetting('max_threads'), getSetting('log_comment')"
    for number in range(3):
        assert admin.ask(sql, max_threads=3, log_comment="mine") == "3\tmine"
        assert admin.ask(sql, max_threads=3, query_id=f"q{number}") == f"3\tq{number}"
        assert admin.ask("SELECT getSetting('readonly')", readonly=1) == "1"


def test_statements_that_define_leave_nothing_to_the_next_request(admin: Any, table: str) -> None:
    for sql in (
        f"CREATE TABLE {table} (a UInt8) ENGINE = MergeTree ORDER BY a SETTINGS index_granularity = 777",
        f"INSERT INTO {table} SETTINGS max_block_size = 777 VALUES (1)",
        f"ALTER TABLE {table} DELETE WHERE a = 1 SETTINGS mutations_sync = 1, max_block_size = 777",
        f"DELETE FROM {table} WHERE a = 1 SETTINGS max_block_size = 777",
        f"OPTIMIZE TABLE {table} FINAL SETTINGS max_block_size = 777",
        f"RENAME TABLE {table} TO {table}_2",
        f"RENAME TABLE {table}_2 TO {table}",
        f"TRUNCATE TABLE {table} SETTINGS max_block_size = 777",
        f"DROP TABLE {table} SETTINGS max_block_size = 777",
        "SELECT 1 SETTINGS max_block_size = 777",
    ):
        answer = admin.call(sql, max_threads=3)
        assert answer.code is None, answer.text
        assert admin.ask("SELECT getSetting('max_block_size') != 777", max_threads=3) == "1", sql


def test_settings_that_reach_others_end_with_the_request_too(admin: Any, session: dict[str, str]) -> None:
    changed = "SELECT count() FROM system.settings WHERE changed AND name != 'compatibility'"
    before = admin.ask(changed, **session)
    assert admin.ask("SELECT 1", compatibility="22.3", **session) == "1"
    assert admin.ask("SELECT 1", readonly=1, **session) == "1"
    assert admin.call("CREATE TEMPORARY TABLE kept (a UInt8)", readonly=1, **session).code == 164
    assert admin.call("SET readonly = 1", **session).code == 48
    assert admin.ask(changed, **session) == before
    assert admin.ask("CREATE TEMPORARY TABLE kept (a UInt8)", **session) == ""


def test_session_check_timeout_and_closing(admin: Any, session: dict[str, str]) -> None:
    assert admin.call("SELECT 1", session_check=1, **session).code == 372
    assert admin.call("SELECT 1", session_timeout=4000, **session).code == 374
    assert admin.call("SELECT 1", session_timeout="soon", **session).code == 374
    assert admin.call("SELECT 1", session_timeout="\u00b2", **session).code == 374
    admin.ask("SELECT 1", session_timeout=1, **session)
    assert admin.ask("SELECT 1", session_check=1, session_timeout=1, **session) == "1"

    def ended() -> bool:
        # A session that is still there goes on for another second.
        return admin.call("SELECT 1", session_check=1, session_timeout=1, **session).code == 372

    until(ended, "the session has timed out", every=1.1)
    admin.ask("SELECT 1", **session)
    admin.ask("SELECT 1", close_session=1, **session)
    assert admin.call("SELECT 1", session_check=1, **session).code == 372


def test_busy_session_is_locked(admin: Any, session: dict[str, str]) -> None:
    mark = str(uuid.uuid4())
    sql = "SELECT sleepEachRow(0.1) FROM numbers(300) SETTINGS max_block_size = 1"
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(admin.call, sql, query_id=mark, **session)
        admin.until_running(mark)
        assert admin.call("SELECT 1", **session).code == 373
        admin.ask(f"KILL QUERY WHERE query_id = '{mark}' SYNC")
        assert slow.result(timeout=60).code == 394
    assert admin.ask("SELECT 1", **session) == "1"


def test_session_of_one_user_is_not_anothers(admin: Any, api: Callable[[str], Any], session: dict[str, str]) -> None:
    admin.ask("CREATE TEMPORARY TABLE mine (a UInt8)", **session)
    superset = api("superset")
    assert superset.call("SELECT * FROM mine", **session).code in (60, 497)
    assert superset.call("SELECT 1", session_check=1, **session).status == 200
    assert superset.call("SELECT * FROM raw.x", **session).code in (60, 497)


def test_error_leaves_the_session_usable(admin: Any, session: dict[str, str]) -> None:
    admin.ask("CREATE TEMPORARY TABLE kept (a UInt8)", **session)
    for sql in ("SELECT nonsense", "INSERT INTO kept FORMAT TSV\nx\n", "SELECT throwIf(number = 9) FROM numbers(10)"):
        assert admin.call(sql, **session).code
    with pytest.raises(http.client.IncompleteRead):
        admin.call("SELECT throwIf(number = 3000000) FROM numbers(4000000) SETTINGS max_threads = 1", **session)
    assert admin.ask("SELECT count() FROM kept", **session) == "0"


def test_get_reads_only(admin: Any, table: str, session: dict[str, str]) -> None:
    admin.ask(f"CREATE TABLE {table} (a UInt8) ENGINE = Memory", **session)
    for parameters in ({}, session):
        assert admin.call(query=f"INSERT INTO {table} VALUES (1)", **parameters).code == 164
        assert admin.call(query=f"DROP TABLE {table}", **parameters).code == 164
        assert admin.call(query=f"SELECT count() FROM {table}", **parameters).text == "0\n"
    assert admin.ask(f"INSERT INTO {table} VALUES (1)", **session) == ""
