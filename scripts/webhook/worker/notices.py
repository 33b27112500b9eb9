"""Tells NOTIFY_URL how runs ended: signed events in the form of Standard Webhooks, until they are taken.

What is to be told stands in the record of runs, so that a kill loses no notice; the same event may arrive twice, with the
same `webhook-id`.
"""

import json
import logging
import threading
import time
from datetime import UTC, datetime
from typing import Any

import urllib3
from standardwebhooks.webhooks import Webhook

from webhook.queue.runs import Run
from webhook.queue.store import RunStore
from webhook.settings import Settings

# Seconds after which a notice that was not taken is sent again; after the last it is given up. As the specification
# proposes, and ended after half a day: older news of a pipeline is no news.
RETRIES = (5, 30, 120, 600, 1800, 7200, 14400, 18000)
_IDLE = 5.0
_TIMEOUT = urllib3.Timeout(connect=5.0, read=10.0)

logger = logging.getLogger(__name__)


class Notices:
    """Sends what is due from a thread of its own; a receiver that is slow or away holds up nothing else."""

    def __init__(self, store: RunStore, settings: Settings, *, retries: tuple[float, ...] = RETRIES) -> None:
        self._store = store
        self._url = settings.notify_url.get_secret_value() if settings.notify_url else ""
        self._success = settings.notify_success
        secrets = settings.notify_secrets or settings.signing_secrets
        self._signers = [Webhook(secret.get_secret_value()) for secret in secrets]
        self._retries = retries
        self._http = urllib3.PoolManager(timeout=_TIMEOUT, retries=False)
        # By run: how often it was tried, and when (monotonic) to try again.
        self._tried: dict[str, tuple[int, float]] = {}
        self._wake = threading.Event()
        self._ending = False
        self._thread = threading.Thread(target=self._work, name="notices", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._wake.set()

    def stop(self) -> None:
        """Ends soon; what is still due is sent by the next worker."""
        self._ending = True
        self._wake.set()
        self._thread.join(1.0)

    def _work(self) -> None:
        while not self._ending:
            for run in self._store.pending_notices():
                if self._ending:
                    return
                self._tell(run)
            self._wake.wait(min(_IDLE, *self._retries))
            self._wake.clear()

    def _tell(self, run: Run) -> None:
        wanted = run.status in {"error", "interrupted"} or (run.status == "success" and self._success)
        if not self._url or not wanted:
            self._store.mark_told(run.id, "unwanted")
            return
        tries, again_at = self._tried.get(run.id, (0, 0.0))
        if time.monotonic() < again_at:
            return
        problem = self._send(f"msg_{run.id}", event(run))
        if problem is None:
            self._store.mark_told(run.id, "sent")
        elif tries < len(self._retries):
            self._tried[run.id] = tries + 1, time.monotonic() + self._retries[tries]
            return
        else:
            logger.warning("the address in NOTIFY_URL did not take the notice of run %s: %s", run.id, problem)
            self._store.mark_told(run.id, "refused")
        self._tried.pop(run.id, None)

    def _send(self, message: str, content: dict[str, Any]) -> str | None:
        """None if it was taken, else why not, without the address, which often carries a key."""
        body = json.dumps(content)
        at = datetime.now(UTC)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message,
            "webhook-timestamp": f"{at.timestamp():.0f}",
        }
        at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
        if self._signers:
            headers["webhook-signature"] = " ".join(signer.sign(message, at, body) for signer in self._signers)
        try:
            answer = self._http.request("POST", self._url, body=body.encode(), headers=headers, redirect=False)
        except (urllib3.exceptions.HTTPError, ValueError, OSError) as error:
            return type(error).__name__
        return None if 200 <= answer.status < 300 else f"status {answer.status}"


def event(run: Run) -> dict[str, Any]:
    """The body: `type`, `timestamp` and `data`, as Standard Webhooks proposes."""
    ended = run.ended_at or datetime.now(UTC)
    return {
        "type": "dbt.run.succeeded" if run.status == "success" else "dbt.run.failed",
        "timestamp": ended.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "data": run.as_json(),
    }
