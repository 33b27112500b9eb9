"""How many statements of a build the warehouse works on at the same time."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from webhook.dbt_threads import Turns

SHORT = 0.05


@pytest.fixture
def turns() -> Turns:
    return Turns(short=SHORT)


@contextmanager
def running(turns: Turns) -> Iterator[None]:
    """A statement of another thread that runs until this ends."""
    begun, end = threading.Event(), threading.Event()

    def run() -> None:
        with turns.turn():
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


def begins(turns: Turns, *, within: float = 0.2) -> bool:
    """Whether another statement may begin now; it ends at once, or when it may begin."""
    begun = threading.Event()

    def run() -> None:
        with turns.turn():
            begun.set()

    threading.Thread(target=run, daemon=True).start()
    return begun.wait(within)


def test_a_short_statement_has_another_beside_it_and_no_third(turns: Turns) -> None:
    with ExitStack() as two:
        two.enter_context(running(turns))
        two.enter_context(running(turns))
        assert not begins(turns)


def test_a_statement_that_has_become_long_has_none_beside_it(turns: Turns) -> None:
    with running(turns):
        time.sleep(SHORT)
        assert not begins(turns)


def test_after_a_long_statement_they_go_one_by_one_until_some_were_short(turns: Turns) -> None:
    with running(turns):
        time.sleep(SHORT)
    with running(turns):
        assert not begins(turns)
    for _ in range(10):
        with turns.turn():
            pass
    with running(turns):
        assert begins(turns)


def test_one_that_waits_begins_when_the_other_has_ended_however_that_was(turns: Turns) -> None:
    with pytest.raises(ValueError, match="refused"), turns.turn():
        time.sleep(SHORT)
        raise ValueError("refused")
    assert begins(turns)


def test_a_statement_within_a_statement_does_not_wait_for_it(turns: Turns) -> None:
    with turns.turn(), turns.turn():
        pass
    with turns.turn():
        pass


def test_where_they_are_not_wanted_nobody_waits(turns: Turns) -> None:
    turns.lift()
    with ExitStack() as many:
        for _ in range(4):
            many.enter_context(running(turns))
        time.sleep(SHORT)
        assert begins(turns)


def test_waiting_is_counted_for_each_thread_and_once(turns: Turns) -> None:
    waited = []

    def run() -> None:
        with turns.turn():
            pass
        waited.extend([turns.count_waiting(), turns.count_waiting()])

    with running(turns):
        time.sleep(SHORT)
        thread = threading.Thread(target=run)
        thread.start()
        time.sleep(0.1)
    thread.join()
    assert waited[0] > 0.09 and waited[1] == turns.count_waiting() == 0
