"""Health checks: the content of `GET /health`, without secrets."""

import os
import threading
import time
from pathlib import Path
from typing import Any, get_args

from warehouse.client import Warehouse
from warehouse.errors import WarehouseError

from webhook.settings import Settings, WarehouseUser
from webhook.worker.lock import is_held

# Longer than the worker's longest wait for ClickHouse.
WORKER_SILENCE = 30.0
_KEPT = 3.0


class Health:
    """Checks worker, warehouse and dbt project. Caches slow checks briefly, because the page is open to everybody."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clients = {
            user: Warehouse(settings.warehouse(user), connect_timeout=2, answer_timeout=3, retries=0)
            for user in get_args(WarehouseUser)
        }
        self._turn = threading.Lock()
        self._checked_at = float("-inf")
        self._checks: dict[str, dict[str, Any]] = {}

    def checks(self) -> dict[str, dict[str, Any]]:
        """Returns each check as {"ok": bool, "detail": sentence}."""
        return {"worker": self._worker(), **self._slow_checks()}

    def _slow_checks(self) -> dict[str, dict[str, Any]]:
        # While one caller checks, the others get the cached answer: a slow warehouse must not block every thread.
        if not self._turn.acquire(blocking=not self._checks):
            return self._checks
        try:
            if time.monotonic() - self._checked_at > _KEPT:
                self._checks = {"warehouse": self._warehouse_answers(), "project": self._project()}
                self._checked_at = time.monotonic()
            return self._checks
        finally:
            self._turn.release()

    def _worker(self) -> dict[str, Any]:
        try:
            alive = is_held(self._settings.worker_lock)
            silence = time.time() - self._settings.worker_lock.stat().st_mtime
        except FileNotFoundError:
            return _check(False, "No worker has started yet: start webhook-worker.")
        if not alive:
            return _check(False, "The worker has ended: start webhook-worker, or read its log.")
        if silence > WORKER_SILENCE:
            return _check(
                False, f"The worker has been silent for {silence:.0f} s: start webhook-worker, or read its log."
            )
        return _check(True, "The worker is alive.")

    def _warehouse_answers(self) -> dict[str, Any]:
        for user, client in self._clients.items():
            try:
                client.ping()
            except WarehouseError:
                return _check(False, f"ClickHouse does not answer user {user}: start it, or read the webhook's log.")
        return _check(True, f"ClickHouse answers users {' and '.join(self._clients)}.")

    def _project(self) -> dict[str, Any]:
        for name in ("dbt_project.yml", "profiles.yml"):
            if not _is_readable(self._settings.project / name):
                return _check(False, f"{name} of the dbt project cannot be read: check DBT_PROJECT_DIR.")
        return _check(True, "The dbt project can be read.")


def _is_readable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.R_OK)


def _check(ok: bool, detail: str) -> dict[str, Any]:
    return {"ok": ok, "detail": detail}
