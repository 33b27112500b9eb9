"""Duties go on whatever one of them does, and their errors are told once."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from agent import duties
from agent.duties import Duty
from notify.sender import Event
from testing.waiting import until
from warehouse.errors import TransientError


@contextmanager
def at_work(tmp_path: Path, *works: Callable[[], None], notified_after: float = 600) -> Iterator[list[Event]]:
    """Does the works every hundredth of a second while the body runs. Yields what NOTIFY_URL is told."""
    stop, events = threading.Event(), list[Event]()
    listed = [Duty(f"Duty {number}", 0.01, work) for number, work in enumerate(works)]
    agent = threading.Thread(
        target=duties.run,
        args=(listed, stop, tmp_path / "heartbeat", events.append),
        kwargs={"notified_after": notified_after},
    )
    agent.start()
    try:
        yield events
    finally:
        stop.set()
        agent.join(30)
        assert not agent.is_alive()


class Work:
    """Counts its rounds, and raises what it is given."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.rounds = 0

    def __call__(self) -> None:
        self.rounds += 1
        if self.error is not None:
            raise self.error

    def until_round(self, number: int) -> None:
        until(lambda: self.rounds >= number, f"round {number}")


@pytest.fixture(autouse=True)
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="agent.duties")
    return caplog


def test_an_error_is_told_once_when_it_begins_and_once_when_it_ends(
    tmp_path: Path, told: pytest.LogCaptureFixture
) -> None:
    work = Work(TransientError("Airflow is away"))
    with at_work(tmp_path, work) as events:
        work.until_round(5)
        assert [record.getMessage() for record in told.records] == [
            "Duty 0 fails, and is tried again every 0.01 s: Airflow is away"
        ]
        work.error = None
        until(lambda: len(told.records) == 2, "the end of the error")
        work.until_round(work.rounds + 3)
    assert told.records[1].getMessage().startswith("Duty 0 works again, after ")
    assert len(told.records) == 2 and events == []
    assert all(record.exc_info is None for record in told.records)


def test_one_duty_that_fails_or_hangs_does_not_stop_the_others(tmp_path: Path) -> None:
    over = threading.Event()

    def hang() -> None:
        over.wait(60)

    failing, well = Work(ValueError("a mistake")), Work()
    with at_work(tmp_path, failing, hang, well):
        well.until_round(5)
        failing.until_round(5)
        over.set()


def test_an_error_that_nobody_has_foreseen_is_told_with_its_traceback(
    tmp_path: Path, told: pytest.LogCaptureFixture
) -> None:
    work = Work(ZeroDivisionError("a mistake"))
    with at_work(tmp_path, work):
        work.until_round(3)
    (record,) = told.records
    assert record.exc_info is not None and record.exc_info[0] is ZeroDivisionError


def test_an_error_that_lasts_reaches_notify_url_once_and_so_does_its_end(tmp_path: Path) -> None:
    work = Work(TransientError("Airflow is away"))
    with at_work(tmp_path, work, notified_after=0.05) as events:
        until(lambda: events, "the notice")
        work.until_round(work.rounds + 5)
        assert [event.kind for event in events] == ["agent.duty.failed"]
        assert (events[0].data["duty"], events[0].data["error"]) == ("Duty 0", "Airflow is away")
        work.error = None
        until(lambda: len(events) == 2, "the notice of the end")
        work.until_round(work.rounds + 3)
    assert [event.kind for event in events] == ["agent.duty.failed", "agent.duty.recovered"]
    assert events[1].data == {"duty": "Duty 0", "since": events[0].data["since"]}


def test_a_stop_waits_for_a_round_at_work(tmp_path: Path) -> None:
    begun, ended = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        stop.wait(60)
        ended.set()

    stop = threading.Event()
    agent = threading.Thread(
        target=duties.run, args=([Duty("Long", 60, work)], stop, tmp_path / "heartbeat", lambda _: None)
    )
    agent.start()
    assert begun.wait(30)
    stop.set()
    agent.join(30)
    assert ended.is_set() and not agent.is_alive()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_has_ended_ends_the_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that is healthy and does nothing would be worse than one that starts anew."""
    monkeypatch.setattr(duties, "BEAT_SECONDS", 0.02)

    def work() -> None:
        raise SystemExit

    with pytest.raises(RuntimeError, match="Broken: the thread has ended"):
        duties.run([Duty("Broken", 0.01, work)], threading.Event(), tmp_path / "heartbeat", lambda _: None)
