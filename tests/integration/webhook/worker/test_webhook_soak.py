"""Counts that take minutes: one key sent a thousand times, and kill -9 of web process and worker at any moment."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from testing.waiting import until

FINAL = {"success", "error", "cancelled", "interrupted"}
KILLS = 50
SEED = int(os.environ.get("WEBHOOK_KILL_SEED", "1"))


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_thousand_sends_of_one_key_from_twenty_threads_are_one_run(
    make_webhook: Callable[..., Any], clickhouse: Any
) -> None:
    webhook = make_webhook()
    webhook.start_web()
    webhook.start_worker()
    with ThreadPoolExecutor(20) as pool:
        ids = set(pool.map(lambda _: webhook.post("quick", key="one")["id"], range(1000)))
    assert len(ids) == 1
    run = webhook.final(ids.pop(), 120)
    assert (run["status"], run["attempts"]) == ("success", 1)
    assert len(webhook.call("GET", "/runs?limit=200").json()["runs"]) == 1
    with clickhouse.client() as admin:
        assert admin.command(f"SELECT count() FROM ops.dbt_runs FINAL WHERE id = '{run['id']}'") == 1


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_whatever_is_killed_whenever_every_accepted_run_ends_in_one_final_state(
    make_webhook: Callable[..., Any], clickhouse: Any, kill: Any
) -> None:
    """Senders send on and on, each under a key of its own until it is answered; web process and worker are killed in turn."""
    webhook = make_webhook(WEBHOOK_QUEUE_LIMIT="100000")
    web, worker = webhook.start_web(), webhook.start_worker()
    dice = random.Random(SEED)
    accepted: dict[str, str] = {}
    over = threading.Event()

    def send(sender: int) -> None:
        number = 0
        while not over.is_set():
            key = f"{sender}/{number}"
            try:
                answer = webhook.call(
                    "POST",
                    "/webhook/manual",
                    json={"select": ["quick"], "full_refresh": number % 3 == 0},
                    headers={"Idempotency-Key": key},
                    timeout=30,
                )
            except requests.RequestException:
                # Whether it was accepted is unknown: the key makes it safe to send again.
                over.wait(0.1)
                continue
            assert answer.status_code in (200, 202), answer.text
            accepted[key] = answer.json()["id"]
            number += 1
            over.wait(dice.uniform(0.2, 1.5))

    senders = [threading.Thread(target=send, args=(sender,)) for sender in range(4)]
    for sender in senders:
        sender.start()
    try:
        for turn in range(KILLS):
            time.sleep(dice.uniform(0.05, 4))
            if turn % 2:
                kill(web)
                web = webhook.start_web()
            else:
                os.kill(worker.pid, signal.SIGKILL)
                worker.wait(10)
                worker = webhook.start_worker()
    finally:
        over.set()
        for sender in senders:
            sender.join(60)
    ids = set(accepted.values())
    assert len(ids) >= 10

    def unfinished() -> list[str]:
        return [run_id for run_id in ids if webhook.run(run_id)["status"] not in FINAL]

    until(lambda: not unfinished(), "every accepted run has ended", 1800)
    ends = {run_id: webhook.run(run_id) for run_id in ids}
    wrong = [run["error"] for run in ends.values() if run["status"] not in {"success", "interrupted"}]
    assert not wrong, wrong
    assert all(run["attempts"] <= 2 for run in ends.values())
    for key, run_id in accepted.items():
        if ends[run_id]["status"] == "success":
            body = {"select": ["quick"], "full_refresh": int(key.split("/")[1]) % 3 == 0}
            again = webhook.call("POST", "/webhook/manual", json=body, headers={"Idempotency-Key": key}).json()
            assert again["id"] == run_id, "a key keeps its run"

    def in_ops() -> dict[str, str]:
        with clickhouse.client() as admin:
            rows = admin.query("SELECT id, status FROM ops.dbt_runs FINAL").result_rows
        return {run_id: status for run_id, status in rows if run_id in ids}

    until(lambda: in_ops() == {run_id: run["status"] for run_id, run in ends.items()}, "ops says the same", 60)
    counted = sum(status == "interrupted" for status in in_ops().values())
    print(f"{KILLS} kills, {len(accepted)} keys, {len(ids)} runs, {counted} interrupted, the rest succeeded")
