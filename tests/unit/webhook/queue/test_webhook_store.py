"""Keys, sharing, the bound of the queue and what becomes of runs that a kill cut, on a real SQLite file."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from webhook.queue.database import Database
from webhook.queue.intake import KeyConflictError, QueueFullError, accept
from webhook.queue.runs import Node, RunRequest, Status
from webhook.queue.store import RunStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    database = Database(tmp_path / "webhook.sqlite3")
    yield RunStore(database)
    database.close()


def ask(store: RunStore, *select: str, key: str | None = None, limit: int = 100) -> str:
    return accept(store.database, RunRequest(select=select), key=key, requested_by="manual", queue_limit=limit)


def status(store: RunStore, run_id: str) -> Status:
    run = store.get(run_id)
    assert run is not None
    return run.status


def node(name: str, state: str, *, ended: bool = True) -> Node:
    return Node(f"model.shop.{name}", name, "model", state, 0.5, None, "", datetime.now(UTC) if ended else None)


def test_a_key_keeps_its_run_while_that_waits_runs_or_has_succeeded(store: RunStore) -> None:
    run_id = ask(store, key="k")
    assert ask(store, key="k") == run_id
    store.begin(run_id)
    assert ask(store, key="k") == run_id
    store.finish(run_id, "success")
    assert ask(store, key="k") == run_id


@pytest.mark.parametrize("end", ["error", "cancelled", "interrupted"])
def test_the_key_of_a_run_that_failed_starts_one_successor(store: RunStore, end: Status) -> None:
    first = ask(store, key="k")
    store.finish(first, end)
    second = ask(store, key="k")
    assert second != first
    assert ask(store, key="k") == second
    assert status(store, first) == end


def test_a_key_with_another_request_is_a_conflict(store: RunStore) -> None:
    run_id = ask(store, "a", key="k")
    with pytest.raises(KeyConflictError) as caught:
        ask(store, "b", key="k")
    assert caught.value.run_id == run_id
    store.finish(run_id, "error")
    assert ask(store, "b", key="k") != run_id


def test_equal_requests_share_a_run_only_while_it_waits(store: RunStore) -> None:
    waiting = ask(store, "a", "b", key="one")
    assert ask(store, "b", "a", key="two") == waiting == ask(store, "a", "b")
    assert ask(store, "a") != waiting
    store.begin(waiting)
    later = ask(store, "a", "b")
    assert later != waiting
    assert ask(store, "a", "b", key="two") == waiting


def test_a_full_queue_refuses_new_runs_and_still_answers_for_old_ones(store: RunStore) -> None:
    bound = ask(store, "a", key="k", limit=2)
    ask(store, "b", limit=2)
    with pytest.raises(QueueFullError):
        ask(store, "c", limit=2)
    assert ask(store, "a", key="k", limit=2) == bound
    assert ask(store, "a", limit=2) == bound


def test_one_key_from_many_threads_is_one_run(store: RunStore) -> None:
    def send(number: int) -> str:
        try:
            return ask(store, key="k") if number % 2 else ask(store, "other", key="other")
        finally:
            store.database.close()

    with ThreadPoolExecutor(20) as pool:
        assert len(set(pool.map(send, range(1000)))) == 2
    assert store.counts()["queued"] == 2


def test_a_cut_run_waits_again_once_and_is_interrupted_the_second_time(store: RunStore) -> None:
    run_id = ask(store)
    store.begin(run_id)
    assert store.count_attempt(run_id) == 1
    store.save_nodes(run_id, 1, 3, [node("a", "success"), node("b", "running", ended=False)])
    assert [run.status for run in store.recover()] == ["queued"]
    assert [(run_id_, attempt, one.status) for run_id_, attempt, one in store.unreported_nodes(9)] == [
        (run_id, 1, "success"),
        (run_id, 1, "skipped"),
    ]
    store.begin(run_id)
    assert store.count_attempt(run_id) == 2
    assert [run.status for run in store.recover()] == ["interrupted"]
    assert store.recover() == []


def test_giving_way_is_no_cut(store: RunStore) -> None:
    run_id = ask(store)
    for _ in range(3):
        assert store.begin(run_id)
        store.requeue(run_id, "the loader publishes")
    assert store.begin(run_id)
    assert [run.status for run in store.recover()] == ["queued"]


def test_a_cancel_ends_a_waiting_run_at_once_and_a_cut_one_at_recovery(store: RunStore) -> None:
    waiting, running, requeued = ask(store, "a"), ask(store, "b"), ask(store, "c")
    store.begin(running)
    store.begin(requeued)
    for run_id in (waiting, running, requeued):
        store.request_cancel(run_id)
    assert [status(store, run_id) for run_id in (waiting, running, requeued)] == ["cancelled", "running", "running"]
    assert not store.begin(waiting)
    store.requeue(requeued, "")
    assert status(store, requeued) == "cancelled"
    assert [run.status for run in store.recover()] == ["cancelled"]


def test_a_final_state_stays(store: RunStore) -> None:
    run_id = ask(store)
    store.finish(run_id, "error", "why")
    store.finish(run_id, "success")
    store.request_cancel(run_id)
    assert not store.begin(run_id)
    run = store.get(run_id)
    assert run is not None and (run.status, run.error) == ("error", "why")


def test_every_change_is_told_once_and_a_change_during_the_telling_again(store: RunStore) -> None:
    run_id = ask(store)
    told = store.unreported_runs(9)
    store.begin(run_id)
    store.mark_reported(told, [])
    assert [run.status for run in store.unreported_runs(9)] == ["running"]
    store.mark_reported(store.unreported_runs(9), [])
    assert store.unreported_runs(9) == []


def test_runs_too_many_or_too_old_are_forgotten_with_their_keys_and_nodes(store: RunStore) -> None:
    finished = [ask(store, f"a{number}", key=f"k{number}") for number in range(5)]
    for run_id in finished:
        store.begin(run_id)
        store.count_attempt(run_id)
        store.save_nodes(run_id, 1, 1, [node("a", "success")])
        store.finish(run_id, "success")
    waiting = ask(store, "waiting")
    assert store.prune(keep_days=30, keep_runs=3) == finished[:3]
    assert [run.id for run in store.latest(limit=9)] == [waiting, *reversed(finished[3:])]
    assert {row["run_id"] for row in store.database.read("SELECT run_id FROM nodes")} == set(finished[3:])
    assert ask(store, "a0", key="k0") not in finished
    with store.database.transaction() as connection:
        connection.execute("UPDATE runs SET ended_at = ended_at - 31 * 86400000000 WHERE id = ?", (finished[3],))
    assert store.prune(keep_days=30, keep_runs=100) == [finished[3]]


def test_pages_of_runs_follow_each_other(store: RunStore) -> None:
    made = [ask(store, f"a{number}") for number in range(5)]
    first = store.latest(limit=2)
    second = store.latest(limit=9, before=first[-1].id)
    assert [run.id for run in first + second] == made[::-1]


def test_what_was_accepted_or_has_ended_is_on_the_disk_and_progress_waits_for_nothing(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[bool] = []
    transaction = store.database.transaction

    def watched(*, waits_for_disk: bool = True) -> AbstractContextManager[sqlite3.Connection]:
        waited.append(waits_for_disk)
        return transaction(waits_for_disk=waits_for_disk)

    monkeypatch.setattr(store.database, "transaction", watched)
    run_id = ask(store)
    store.begin(run_id)
    store.save_nodes(run_id, store.count_attempt(run_id), 1, [node("a", "success")])
    store.beat(run_id)
    store.requeue(run_id, "the loader publishes")
    store.begin(run_id)
    store.finish(run_id, "success")
    assert waited == [True, False, False, False, False, True, False, True]
    with transaction() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
