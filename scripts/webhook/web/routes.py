"""The calls of the API. They read and write the record of runs; none of them touches dbt."""

import logging
import threading
import time
from http import HTTPStatus
from typing import Any

from flask import Response, current_app, g, json, request
from flask_openapi3 import APIBlueprint

from webhook.queue.intake import KeyConflictError, QueueFullError, accept
from webhook.queue.runs import Run
from webhook.queue.store import RunStore
from webhook.settings import Settings
from webhook.web.contract import (
    BODY,
    BROWSER,
    SIGNED,
    TOKEN,
    HealthAnswer,
    ListQuery,
    RunAnswer,
    RunPath,
    RunsAnswer,
    StartHeaders,
    StatusAnswer,
    WaitQuery,
    answers,
    text,
)
from webhook.web.health import Health
from webhook.web.log_stream import follow
from webhook.web.metrics import CONTENT_TYPE, exposition
from webhook.web.problems import Problem
from webhook.web.starting import read_body

# Each waiting request holds a thread. Beyond this number requests are answered at once, so that some threads stay free.
MAX_WAITERS = 8
_LOOK = 0.02
_RETRY_AFTER = "30"
_START: dict[str, Any] = {
    "responses": answers(
        {HTTPStatus.OK: RunAnswer, HTTPStatus.ACCEPTED: RunAnswer},
        *(HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.SERVICE_UNAVAILABLE),
    ),
    "openapi_extensions": BODY,
}
logger = logging.getLogger(__name__)


def make_routes(settings: Settings, store: RunStore, health: Health) -> APIBlueprint:
    """Returns the API as a blueprint. The gate (`app`) has authenticated a request before it arrives here."""
    routes = APIBlueprint("webhook", __name__)
    waiters = threading.BoundedSemaphore(MAX_WAITERS)

    def start(requested_by: str, header: StartHeaders, wait: int) -> Response:
        wanted = read_body(request, settings.project)
        # The signature covers only `webhook-id`, so a signed request's Idempotency-Key is ignored.
        key = header.webhook_id if g.proof == "signature" else header.idempotency_key or header.webhook_id
        try:
            run_id = accept(
                store.database, wanted, key=key, requested_by=requested_by, queue_limit=settings.queue_limit
            )
        except QueueFullError:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{settings.queue_limit} runs are waiting, which is the limit: send the request again later.",
                headers={"Retry-After": _RETRY_AFTER},
            ) from None
        except KeyConflictError as conflict:
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"This Idempotency-Key belongs to run {conflict.run_id}, which was asked for something else:"
                " send a new key with a new request.",
            ) from None
        run = _await(run_id, wait)
        logger.info("run %s accepted (%s): %s", run.id, requested_by, run.status)
        status = HTTPStatus.OK if wait and run.is_final else HTTPStatus.ACCEPTED
        return _json(_with_nodes(store, run) if run.is_final else run.as_json(), status, {"Location": run.url})

    def _await(run_id: str, seconds: int) -> Run:
        """Waits until the run ends or the seconds have passed; returns the run."""
        run = existing(store, run_id)
        if seconds and waiters.acquire(blocking=False):
            try:
                deadline = time.monotonic() + min(seconds, settings.max_wait)
                while not run.is_final and time.monotonic() < deadline:
                    time.sleep(_LOOK)
                    run = existing(store, run_id)
            finally:
                waiters.release()
        return run

    @routes.post("/webhook/manual", security=TOKEN, **_START)
    def start_by_hand(header: StartHeaders, query: WaitQuery) -> Response:
        """Start a dbt run."""
        return start("manual", header, query.wait)

    @routes.post("/webhook", security=SIGNED, **_START)
    def start_by_system(header: StartHeaders, query: WaitQuery) -> Response:
        """Start a dbt run from another system, which may sign its request."""
        return start("webhook", header, query.wait)

    @routes.get("/runs", security=BROWSER, responses=answers({HTTPStatus.OK: RunsAnswer}))
    def list_runs(query: ListQuery) -> Response:
        """The newest runs first."""
        runs = store.latest(limit=query.limit, status=query.status, before=query.before)
        more = None
        if len(runs) == query.limit:
            more = f"/runs?limit={query.limit}&before={runs[-1].id}"
            more += f"&status={query.status}" if query.status else ""
        return _json({"runs": [run.as_json() for run in runs], "next": more})

    @routes.get("/runs/<run_id>", security=BROWSER, responses=answers({HTTPStatus.OK: RunAnswer}, HTTPStatus.NOT_FOUND))
    def show_run(path: RunPath, query: WaitQuery) -> Response:
        """A run, with each of its nodes."""
        existing(store, path.run_id)
        return _json(_with_nodes(store, _await(path.run_id, query.wait)))

    @routes.get(
        "/runs/<run_id>/logs",
        security=BROWSER,
        responses=answers(
            text("text/plain", "text/event-stream"), HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE
        ),
    )
    def show_log(path: RunPath) -> Response:
        """The log as text; as server-sent events, until the run ends, with 'Accept: text/event-stream'."""
        run = existing(store, path.run_id)
        log = settings.run_log(run.id)
        if request.accept_mimetypes.best_match(["text/plain", "text/event-stream"]) != "text/event-stream":
            return Response(log.read_bytes() if log.is_file() else b"", content_type="text/plain; charset=utf-8")
        if not waiters.acquire(blocking=False):
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{MAX_WAITERS} requests are waiting for runs or reading logs, which is the limit: try again later.",
                headers={"Retry-After": "5"},
            )
        events = follow(store, run.id, log, last_event_id=request.headers.get("Last-Event-ID", ""))
        answer = Response(events, content_type="text/event-stream; charset=utf-8")
        answer.headers["X-Accel-Buffering"] = "no"
        answer.call_on_close(waiters.release)
        return answer

    @routes.post(
        "/runs/<run_id>/cancel",
        security=TOKEN,
        responses=answers({HTTPStatus.ACCEPTED: RunAnswer}, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    )
    def cancel_run(path: RunPath) -> Response:
        """Cancel a run that waits or runs; dbt and its queries are ended."""
        run = existing(store, path.run_id)
        if run.is_final:
            raise Problem(
                HTTPStatus.CONFLICT, f"Run {run.id} has ended already ({run.status}): there is nothing to cancel."
            )
        store.request_cancel(run.id)
        return _json(existing(store, run.id).as_json(), HTTPStatus.ACCEPTED)

    @routes.get(
        "/health",
        security=[],
        responses=answers({HTTPStatus.OK: HealthAnswer, HTTPStatus.SERVICE_UNAVAILABLE: HealthAnswer}, guarded=False),
    )
    def show_health() -> Response:
        """Whether process, worker, warehouse and dbt project are usable."""
        checks = health.checks()
        healthy = all(check["ok"] for check in checks.values())
        body = {"status": "ok" if healthy else "degraded", "checks": checks}
        return _json(body, HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE)

    @routes.get("/status", security=[], responses=answers({HTTPStatus.OK: StatusAnswer}, guarded=False))
    def show_status() -> Response:
        """Queue and last result, for machines."""
        counts = store.counts()
        running = store.latest(limit=1, status="running")
        last, success = store.last_final(), store.latest(limit=1, status="success")
        return _json(
            {
                "queue": {"queued": counts["queued"], "limit": settings.queue_limit},
                "running": _brief(running[0]) if running else None,
                "last": _brief(last) if last else None,
                "last_success": _brief(success[0]) if success else None,
                "runs": counts,
            }
        )

    @routes.get("/metrics", security=BROWSER, responses=answers(text("text/plain")))
    def show_metrics() -> Response:
        """Runs by result, their duration, the queue and the last success, for Prometheus."""
        return Response(exposition(store, settings), content_type=CONTENT_TYPE)

    return routes


def existing(store: RunStore, run_id: str) -> Run:
    """Returns the run. Raises Problem if there is none."""
    run = store.get(run_id)
    if run is None:
        raise Problem(
            HTTPStatus.NOT_FOUND,
            "No run has this id, or it is so old that it was forgotten: GET /runs lists those that are kept.",
        )
    return run


def _with_nodes(store: RunStore, run: Run) -> dict[str, Any]:
    """Returns the run as JSON, with finished nodes and the names of running ones."""
    nodes = [node.as_json() for node in store.nodes(run)]
    return run.as_json() | {"at_work": store.nodes_at_work(run), "nodes": nodes}


def _brief(run: Run) -> dict[str, Any]:
    """Returns the public part of a run: no error text and no key."""
    shown = ("id", "status", "command", "queued_at", "started_at", "ended_at", "progress")
    whole = run.as_json()
    return {name: whole[name] for name in shown}


def _json(body: dict[str, Any], status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None) -> Response:
    answer: Response = current_app.response_class(json.dumps(body) + "\n", status=status, mimetype="application/json")
    answer.headers.update(headers or {})
    return answer
