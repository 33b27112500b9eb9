"""Which statements of a build the warehouse works on at the same time."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from webhook.dbt_threads import Turns

ROWS = [
    "insert into a select 1",
    "select count(*) from a",
    '/* {"app": "dbt"} */\n\n  -- the rows\n  with b as (select * from a) select * from b',
]
NO_ROWS = [
    "select name, type from system.columns where table = 'a'",
    "with b as (select 1) select name from system.tables",
    "create table a (x Int8) order by x empty as (select 1 as x)",
    '/* {"app": "dbt"} */ drop table if exists a',
    "exchange tables a and b",
]


@pytest.fixture
def turns() -> Turns:
    return Turns()


@contextmanager
def running(turns: Turns, sql: str) -> Iterator[None]:
    """A statement of another thread that runs until this ends."""
    begun, end = threading.Event(), threading.Event()

    def run() -> None:
        with turns.turn(sql):
            begun.set()
            end.wait(10)

    thread = threading.Thread(target=run)
    thread.start()
    assert begun.wait(10)
    try:
        yield
    finally:
        end.set()
        thread.join()


def begins(turns: Turns, sql: str) -> bool:
    """Whether a statement of another thread may begin now; it ends at once, or when it may begin."""
    begun = threading.Event()

    def run() -> None:
        with turns.turn(sql):
            begun.set()

    threading.Thread(target=run, daemon=True).start()
    return begun.wait(0.2)


@pytest.mark.parametrize("sql", ROWS)
def test_of_statements_that_read_or_write_rows_there_is_one_at_a_time(turns: Turns, sql: str) -> None:
    with running(turns, ROWS[0]):
        assert not begins(turns, sql)
    assert begins(turns, sql)


@pytest.mark.parametrize("sql", NO_ROWS)
def test_others_go_beside_them_and_beside_each_other(turns: Turns, sql: str) -> None:
    with running(turns, ROWS[0]), running(turns, NO_ROWS[0]):
        assert begins(turns, sql)


def test_one_that_waits_begins_when_the_other_has_ended_however_that_was(turns: Turns) -> None:
    with pytest.raises(ValueError, match="refused"), turns.turn(ROWS[0]):
        raise ValueError("refused")
    assert begins(turns, ROWS[0])


def test_a_statement_within_a_statement_does_not_wait_for_it(turns: Turns) -> None:
    with turns.turn(ROWS[0]), turns.turn(ROWS[1]):
        pass
    assert begins(turns, ROWS[0])


def test_where_they_are_not_wanted_nobody_waits(turns: Turns) -> None:
    turns.lift()
    with ExitStack() as many:
        for _ in range(4):
            many.enter_context(running(turns, ROWS[0]))
        assert begins(turns, ROWS[0])


def test_waiting_is_counted_for_each_thread_and_once(turns: Turns) -> None:
    waited = []

    def run() -> None:
        with turns.turn(ROWS[0]):
            pass
        waited.extend([turns.count_waiting(), turns.count_waiting()])

    with running(turns, ROWS[0]):
        thread = threading.Thread(target=run)
        thread.start()
        time.sleep(0.1)
    thread.join()
    assert waited[0] > 0.09 and waited[1] == turns.count_waiting() == 0
