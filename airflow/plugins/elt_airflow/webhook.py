"""Client of the dbt webhook: starts a run under an idempotency key and polls it.

It uses the HTTP client of the standard library: a task that waits for dbt should not need the memory of an HTTP client library.
"""

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from environment.reading import read
from warehouse.errors import TerminalError, TransientError

from elt_airflow.settings import WebhookClient

ANSWER_WITHIN_SECONDS = 30
ACTIVE = frozenset({"queued", "running"})
FINAL = frozenset({"success", "error", "cancelled", "interrupted"})
# dbt's statuses of a node: a model or snapshot ends in `error`, a test in `fail` (or `error` when it cannot run).
FAILED_NODES = frozenset({"error", "fail", "runtime error"})


class WebhookUnavailableError(TransientError):
    """No response, or a temporary refusal (a restart, a full queue)."""


class WebhookRefusedError(TerminalError):
    """A permanent refusal: wrong token, wrong request."""


class UnknownSelectionError(WebhookRefusedError):
    """The dbt project has nothing by some of the names that were to be built."""

    def __init__(self, message: str, unknown: Collection[str]) -> None:
        super().__init__(message)
        self.unknown = unknown


def build_request(select: Sequence[str], *, full_refresh: bool) -> dict[str, Any]:
    """Returns the body of a start of `dbt build`; an empty `select` means everything."""
    return {"command": "build", "full_refresh": full_refresh, **({"select": list(select)} if select else {})}


@dataclass(frozen=True)
class Node:
    """One dbt node that finished: a model, test, snapshot or seed."""

    node: str
    name: str
    status: str
    seconds: float
    message: str
    resource_type: str = ""

    @property
    def failed(self) -> bool:
        return self.status in FAILED_NODES


@dataclass(frozen=True)
class DbtRun:
    """A run as the webhook's API shows it; instants are ISO 8601 text in UTC."""

    id: str
    status: str
    error: str = ""
    attempts: int = 0
    queued_at: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    nodes: tuple[Node, ...] = field(default=())

    @property
    def failed_nodes(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.failed)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "DbtRun":
        """Parses a response. Raises WebhookRefusedError if it is not the webhook's (another service on its port)."""
        status, run_id = document.get("status"), document.get("id")
        if not isinstance(run_id, str) or status not in ACTIVE | FINAL:
            raise WebhookRefusedError(
                f"The answer names no dbt run with a known status (id {run_id!r}, status {status!r}): "
                "check that WEBHOOK_URL is the webhook's address and that both are of the same version."
            )
        return cls(
            id=run_id,
            status=status,
            error=document.get("error") or "",
            attempts=int(document.get("attempts") or 0),
            queued_at=document.get("queued_at"),
            started_at=document.get("started_at"),
            ended_at=document.get("ended_at"),
            nodes=tuple(
                Node(
                    node=str(node.get("node") or ""),
                    name=str(node.get("name") or node.get("node") or ""),
                    status=str(node.get("status") or ""),
                    seconds=float(node.get("seconds") or 0),
                    message=str(node.get("message") or ""),
                    resource_type=str(node.get("resource_type") or ""),
                )
                for node in document.get("nodes") or ()
            ),
        )


@dataclass(frozen=True)
class Webhook:
    """Address and token of the webhook. The token never appears in a message, a repr or an address."""

    url: str
    token: str = field(repr=False)

    @classmethod
    def from_environment(cls) -> "Webhook":
        """Reads WEBHOOK_URL and WEBHOOK_TOKEN. Raises SettingsError."""
        settings = read(WebhookClient, os.environ)
        return cls(settings.url, settings.token.get_secret_value())

    def start(self, key: str, request: Mapping[str, Any]) -> DbtRun:
        """Starts a dbt run under an idempotency key, or returns the run to which the key is bound.

        It retries while the webhook does not answer; the key makes that safe. Raises WebhookUnavailableError, WebhookRefusedError;
        UnknownSelectionError if the project has nothing by a name of `select`.
        """
        body = json.dumps(request).encode()
        return DbtRun.from_json(
            self._patiently(lambda: self._call("POST", "/webhook/manual", body=body, headers={"Idempotency-Key": key}))
        )

    def run(self, run_id: str) -> DbtRun | None:
        """Returns the run; None if the webhook does not know it (its state was wiped).

        Raises WebhookUnavailableError, WebhookRefusedError.
        """
        try:
            return DbtRun.from_json(self._call("GET", f"/runs/{quote(run_id, safe='')}"))
        except _UnknownRunError:
            return None

    def page(self, run_id: str) -> str:
        return f"{self.url}/runs/{quote(run_id, safe='')}"

    @staticmethod
    def _patiently(call: Callable[[], dict[str, Any]], waits: tuple[int, ...] = (1, 2, 4, 8)) -> dict[str, Any]:
        for seconds in waits:
            try:
                return call()
            except WebhookUnavailableError:
                time.sleep(seconds)
        return call()

    def _call(
        self, method: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        request = urllib.request.Request(
            self.url + path,
            data=body,
            method=method,
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json", **(headers or {})},
        )
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_WITHIN_SECONDS) as answer:
                document = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(method, path, error) from error
        except ValueError as error:
            raise WebhookRefusedError(
                f"{method} {self.url}{path} did not answer with JSON: check that WEBHOOK_URL is the webhook's address."
            ) from error
        except (OSError, http.client.HTTPException) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise WebhookUnavailableError(
                f"The webhook at {self.url} does not answer ({reason}): start webhook-server, or correct WEBHOOK_URL."
            ) from error
        if not isinstance(document, dict):
            raise WebhookRefusedError(
                f"{method} {self.url}{path} answered with JSON that is no object: check WEBHOOK_URL."
            )
        return document

    def _refusal(self, method: str, path: str, error: urllib.error.HTTPError) -> Exception:
        problem = _problem(error)
        detail = str(problem.get("detail") or problem.get("title") or error.reason)
        if error.code == 401:
            return WebhookRefusedError(
                f"The webhook at {self.url} refused the token (401): WEBHOOK_TOKEN differs between Airflow and the "
                "webhook server; restart both with the same one."
            )
        if error.code == 404 and path.startswith("/runs/"):
            return _UnknownRunError(f"The webhook at {self.url} knows no run {path.removeprefix('/runs/')}.")
        if error.code in (408, 425, 429) or error.code >= 500:
            return WebhookUnavailableError(
                f"The webhook at {self.url} cannot take {method} {path} now ({error.code}): {detail}"
            )
        if error.code == 422 and problem.get("unknown"):
            return UnknownSelectionError(detail, tuple(problem["unknown"]))
        return WebhookRefusedError(f"The webhook at {self.url} refused {method} {path} ({error.code}): {detail}")


class _UnknownRunError(TerminalError):
    pass


def _problem(error: urllib.error.HTTPError) -> dict[str, Any]:
    """Returns the RFC 9457 problem; empty if the answer is none."""
    try:
        document = json.loads(error.read(65536))
    except (ValueError, OSError, http.client.HTTPException):
        return {}
    return document if isinstance(document, dict) else {}
